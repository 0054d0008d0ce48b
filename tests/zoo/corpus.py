"""The fixed corpus: small models, each with one thing that real models have, and a change of it.

`before` and `after` are the bodies of the project's `app/models.py`; `kinds` of its
`app/kinds.py`, where an application has its types.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

HEAD = """\
import datetime, decimal, enum, uuid
from typing import Any
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column
"""
ALL = ("postgresql", "sqlite", "mysql")
PG = ("postgresql",)
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


@dataclass(frozen=True)
class Animal:
    name: str
    before: str
    after: str
    databases: tuple[str, ...] = ALL
    kinds: str = ""
    convention: Mapping[str, str] = field(default_factory=dict)
    prepare: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What is in the database before all."""
    between: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What comes into it after the first migration."""
    unmanaged: tuple[str, ...] = ()
    cheap: bool = False
    """Also in the test-suite."""
    old: bool = False
    """Its library is not made for SQLAlchemy 2.1 yet."""


def thing(*columns: str, arguments: str = "") -> str:
    """One table with an id and these columns."""
    lines = [
        "class Thing(Base):",
        '    __tablename__ = "thing"',
        "    id: Mapped[int] = mapped_column(primary_key=True)",
        *(f"    {name}" for name in columns),
    ]
    if arguments:
        lines.append(f"    __table_args__ = ({arguments},)")
    return "\n".join(lines) + "\n"


def column(kind: str, more: str = "") -> str:
    return f"c = mapped_column({kind}{', ' + more if more else ''})"


def kinds_of(name: str, first: str, second: str, **more: object) -> Animal:
    """A column of one type, later of another."""
    return Animal(name, thing(column(first)), thing(column(second)), **more)  # type: ignore[arg-type]


NOTE = "n: Mapped[int | None]"

GENERIC = (
    kinds_of("string", "sa.String(20)", "sa.String(40)"),
    kinds_of("text", "sa.String(20)", "sa.Text"),
    kinds_of("unicode", "sa.Unicode(20)", "sa.UnicodeText"),
    kinds_of("integers", "sa.SmallInteger", "sa.BigInteger"),
    kinds_of("numeric", "sa.Numeric(10, 2)", "sa.Numeric(12, 4)"),
    kinds_of("float", "sa.Float(53)", "sa.Numeric(10, 2)"),
    kinds_of("double", "sa.Double", "sa.Numeric(12, 4)"),
    kinds_of("boolean", "sa.Boolean", "sa.Boolean(create_constraint=True, name='flag')"),
    kinds_of("date to datetime", "sa.Date", "sa.DateTime"),
    kinds_of("time zones", "sa.DateTime", "sa.DateTime(timezone=True)"),
    kinds_of("binary", "sa.LargeBinary(20)", "sa.LargeBinary"),
    kinds_of("interval", "sa.Interval", "sa.Interval(second_precision=3)"),
    kinds_of("uuid", "sa.Uuid", "sa.Uuid(as_uuid=False)"),
    kinds_of("json", "sa.JSON", "sa.JSON(none_as_null=True)"),
    kinds_of("pickle", "sa.PickleType", "sa.LargeBinary"),
)

ENUMS = (
    Animal(
        "enum",
        "class Colour(enum.Enum):\n    red = 1\n    blue = 2\n\n" + thing("c: Mapped[Colour]"),
        "class Colour(enum.Enum):\n    red = 1\n    blue = 2\n\n"
        + thing("c: Mapped[Colour]", NOTE),
        cheap=True,
    ),
    Animal(
        "enum as text",
        thing(column("sa.Enum('a', 'b', name='kind', native_enum=False)")),
        thing(column("sa.Enum('a', 'b', 'long value', name='kind', native_enum=False)")),
    ),
    Animal(
        "enum as text with a check",
        thing(column("sa.Enum('a', 'b', name='kind', native_enum=False, create_constraint=True)")),
        thing(
            column("sa.Enum('a', 'b', name='kind', native_enum=False, create_constraint=True)"),
            NOTE,
        ),
        convention=NAMES,
        cheap=True,
    ),
    Animal(
        "array of enum",
        thing(column("sa.ARRAY(sa.Enum('a', 'b', name='kind'))")),
        thing(column("sa.ARRAY(sa.Enum('a', 'b', name='kind'))"), NOTE),
        PG,
    ),
    Animal(
        "enum of another schema",
        thing(column("sa.Enum('a', name='kind', schema='s')"), arguments="{'schema': 's'}").replace(
            "({'schema': 's'},)", "{'schema': 's'}"
        ),
        thing(
            column("sa.Enum('a', name='kind', schema='s')"), NOTE, arguments="{'schema': 's'}"
        ).replace("({'schema': 's'},)", "{'schema': 's'}"),
        PG,
        prepare={"postgresql": ("CREATE SCHEMA s",)},
    ),
    Animal(
        "postgresql.ENUM",
        thing(column("postgresql.ENUM('a', 'b', name='kind')")),
        thing(column("postgresql.ENUM('a', 'b', name='kind')"), NOTE),
        PG,
    ),
    Animal(
        "enum in a variant",
        thing(column("sa.String(5).with_variant(postgresql.ENUM('a', name='kind'), 'postgresql')")),
        thing(
            column("sa.String(5).with_variant(postgresql.ENUM('a', name='kind'), 'postgresql')"),
            NOTE,
        ),
    ),
)

KINDS = """
class Upper(sa.types.TypeDecorator[str]):
    impl = sa.String(20)
    cache_ok = True

class Guid(sa.types.TypeDecorator[uuid.UUID]):
    impl = sa.CHAR(32)
    cache_ok = True
    def load_dialect_impl(self, dialect):
        native = dialect.name == "postgresql"
        return dialect.type_descriptor(postgresql.UUID() if native else sa.CHAR(32))

class Key(sa.types.TypeDecorator):
    class Text36(sa.CHAR):
        pass
    impl = Text36
    cache_ok = True
    def load_dialect_impl(self, dialect):
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.UUID())
        return dialect.type_descriptor(sa.CHAR(36))

class Document(sa.types.TypeDecorator):
    impl = sa.JSON
    cache_ok = True
    def load_dialect_impl(self, dialect):
        kind = postgresql.JSONB() if dialect.name == "postgresql" else sa.JSON()
        return dialect.type_descriptor(kind)

class Email(sa.String):
    pass

class Money(sa.types.TypeDecorator):
    impl = sa.Numeric
    cache_ok = True
    def __init__(self, digits=2, *, currency="EUR"):
        super().__init__(18, digits)
        self.currency = currency

class Outer:
    class Inner(sa.types.TypeDecorator):
        impl = sa.Text
        cache_ok = True

class Point(sa.types.UserDefinedType):
    cache_ok = True
    def get_col_spec(self, **kw):
        return "point"

class Path(sa.types.UserDefinedType):
    cache_ok = True
    def get_col_spec(self, **kw):
        return "ltree"

class Twice(sa.types.TypeDecorator):
    impl = Upper
    cache_ok = True

class Moment(sa.types.TypeDecorator):
    impl = sa.DateTime(timezone=True)
    cache_ok = True
    def load_dialect_impl(self, dialect):
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

class Colour(enum.Enum):
    red = 1
    blue = 2

class Coloured(sa.types.TypeDecorator):
    impl = sa.Enum(Colour, native_enum=False, length=20)
    cache_ok = True

class Versioned(sa.types.TypeDecorator):
    impl = sa.Integer
    cache_ok = True
    def __repr__(self):
        return "<a version>"
"""


def own(name: str, kind: str, other: str | None = None, **more: object) -> Animal:
    """A type of the application."""
    after = thing(column(other)) if other else thing(column(kind), NOTE)
    return Animal(f"own type: {name}", thing(column(kind)), after, kinds=KINDS, **more)  # type: ignore[arg-type]


DECORATORS = (
    own("decorator", "Upper", "sa.String(30)"),
    own("decorator with a dialect's own", "Guid"),
    own("nested implementation", "Key", cheap=True),
    own("JSONB on PostgreSQL", "Document", cheap=True),
    own("subclass", "Email(50)", "Email(60)"),
    own("decorator with arguments", "Money(4, currency='CHF')", "Money(2)"),
    own("nested class", "Outer.Inner", cheap=True),
    own("user-defined", "Point", databases=PG),
    own("decorator of a decorator", "Twice"),
    own("MySQL's fractions", "Moment"),
    own("decorated enum", "Coloured"),
    own("a repr that is no code", "Versioned", cheap=True),
    own("in an array", "sa.ARRAY(Upper)", databases=PG),
    own("in an array of PostgreSQL", "postgresql.ARRAY(Upper, dimensions=2)", databases=PG),
    own("as a variant", "sa.Text().with_variant(Document(), 'postgresql')", cheap=True),
    own("with a variant", "Upper().with_variant(sa.Text(), 'postgresql')"),
    own("as a key", "Key, unique=True"),
    own("collated", "Email(50, collation='C')", databases=PG),
)

POSTGRESQL = tuple(
    kinds_of(f"postgresql: {name}", first, second, databases=PG, **more)
    for name, first, second, more in (
        ("array", "sa.ARRAY(sa.Integer)", "sa.ARRAY(sa.BigInteger)", {}),
        ("array of two dimensions", "postgresql.ARRAY(sa.Text, dimensions=2)", "sa.ARRAY(sa.Text)", {}),
        ("JSONB", "postgresql.JSONB", "postgresql.JSONB(astext_type=sa.Text())", {}),
        ("JSON to JSONB", "postgresql.JSON", "postgresql.JSONB", {"cheap": True}),
        ("ranges", "postgresql.INT4RANGE", "postgresql.INT4RANGE", {}),
        ("timestamp range", "postgresql.TSTZRANGE", "postgresql.TSTZRANGE", {}),
        ("multirange", "postgresql.INT4MULTIRANGE", "postgresql.INT4MULTIRANGE", {}),
        ("network", "postgresql.INET", "postgresql.CIDR", {}),
        ("macaddr", "postgresql.MACADDR", "postgresql.MACADDR", {}),
        ("bits", "postgresql.BIT(4)", "postgresql.BIT(varying=True)", {}),
        ("full text", "postgresql.TSVECTOR", "postgresql.TSVECTOR", {}),
        ("interval", "postgresql.INTERVAL(fields='DAY TO SECOND', precision=3)", "postgresql.INTERVAL", {}),
        ("timestamp with precision", "postgresql.TIMESTAMP(precision=3)", "postgresql.TIMESTAMP(timezone=True)", {}),
        ("oid", "postgresql.OID", "postgresql.OID", {}),
        ("money", "postgresql.MONEY", "postgresql.MONEY", {}),
        ("hstore", "postgresql.HSTORE", "postgresql.HSTORE", {"prepare": {"postgresql": ("CREATE EXTENSION hstore",)}}),
        ("citext", "postgresql.CITEXT", "postgresql.CITEXT", {"prepare": {"postgresql": ("CREATE EXTENSION citext",)}}),
        ("domain", "postgresql.DOMAIN('positive', sa.Integer, check='VALUE > 0')", "postgresql.DOMAIN('positive', sa.Integer, check='VALUE > 0')", {}),
    )
)  # fmt: skip

VARIANTS = (
    kinds_of(
        "variant: JSONB",
        "sa.JSON().with_variant(postgresql.JSONB(), 'postgresql')",
        "sa.JSON().with_variant(postgresql.JSONB(), 'postgresql')",
        cheap=True,
    ),
    kinds_of(
        "variant: integer key of SQLite",
        "sa.BigInteger().with_variant(sa.Integer, 'sqlite')",
        "sa.BigInteger",
    ),
    kinds_of(
        "variant: MySQL",
        "sa.Text().with_variant(mysql.LONGTEXT(), 'mysql', 'mariadb')",
        "sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')",
    ),
    kinds_of("mysql: unsigned", "mysql.INTEGER(unsigned=True)", "mysql.BIGINT(unsigned=True)", databases=("mysql",)),
    kinds_of("mysql: enum", "mysql.ENUM('a', 'b')", "mysql.ENUM('a', 'b', 'c')", databases=("mysql",)),
    kinds_of("mysql: set", "mysql.SET('a', 'b')", "mysql.SET('a', 'b')", databases=("mysql",)),
    kinds_of("mysql: fractions", "mysql.DATETIME(fsp=3)", "mysql.DATETIME(fsp=6)", databases=("mysql",)),
    kinds_of("mysql: texts", "mysql.TINYTEXT", "mysql.LONGTEXT", databases=("mysql",)),
    kinds_of("sqlite: dates", "sqlite.DATETIME(truncate_microseconds=True)", "sqlite.DATE", databases=("sqlite",)),
)  # fmt: skip


def default(
    name: str, first: str, second: str, kind: str = "sa.String(30)", **more: object
) -> Animal:
    before, after = (
        thing(column(kind, f"server_default={text}" if text else "")) for text in (first, second)
    )
    return Animal(f"default: {name}", before, after, **more)  # type: ignore[arg-type]


DEFAULTS = (
    default("a word", "'new'", "'old'"),
    default("an apostrophe", '"it\'s new"', '"it\'s old"', cheap=True),
    default("a number", "'1'", "'2'", "sa.Integer"),
    default("a number as text()", "sa.text('1')", "sa.text('2')", "sa.Integer"),
    default("a fraction", "'0'", "'1.50'", "sa.Numeric(10, 2)"),
    default("true", "sa.true()", "sa.false()", "sa.Boolean"),
    default("true as text()", "sa.text('true')", "sa.text('false')", "sa.Boolean", databases=PG),
    default("now", "sa.func.now()", "sa.func.current_timestamp()", "sa.DateTime"),
    default("now as text()", "sa.text('CURRENT_TIMESTAMP')", "", "sa.DateTime"),
    default("nothing to something", "", "'x'"),
    default("random", "sa.text('substr(md5(random()::text), 1, 8)')", "sa.text(\"'x'\")", databases=PG, cheap=True),
    default("uuid", "sa.text('gen_random_uuid()')", "", "sa.Uuid", databases=PG),
    default("uuid as a function", "sa.func.gen_random_uuid()", "sa.func.gen_random_uuid()", "sa.Uuid", databases=PG),
    default("at time zone", "sa.text(\"(now() AT TIME ZONE 'utc')\")", "sa.text('now()')", "sa.DateTime", databases=PG),
    default("timezone()", "sa.text(\"timezone('utc', now())\")", "sa.text('now()')", "sa.DateTime", databases=PG),
    default("clock", "sa.text('clock_timestamp()')", "sa.text('now()')", "sa.DateTime", databases=PG),
    default("json", "'{}'", "'[]'", "sa.JSON"),
    default("jsonb", "'{}'", "sa.text(\"'{}'::jsonb\")", "postgresql.JSONB", databases=PG),
    default("array", "'{}'", "sa.text(\"ARRAY['a']::text[]\")", "sa.ARRAY(sa.Text)", databases=PG),
    default("point", "sa.text('point(0,0)')", "sa.text('point(1,0)')", "Point", databases=PG, kinds=KINDS, cheap=True),
    default("interval", "sa.text(\"interval '1 day'\")", "sa.text(\"'24:00:00'\")", "sa.Interval", databases=PG),
    default("a sequence", "sa.text(\"nextval('numbers')\")", "sa.text(\"nextval('numbers')\")", "sa.Integer", databases=PG, prepare={"postgresql": ("CREATE SEQUENCE numbers",)}),
    default("an expression", "sa.text('1 + 1')", "sa.text('2 + 1')", "sa.Integer", databases=PG),
    default("of an enum", "'a'", "'b'", "sa.Enum('a', 'b', name='kind')", cheap=True),
    default("of SQLite", "sa.text(\"(strftime('%s', 'now'))\")", "", "sa.Integer", databases=("sqlite",)),
    default("on update", "sa.text('CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP')", "sa.text('CURRENT_TIMESTAMP')", "sa.DateTime", databases=("mysql",)),
    default("uuid of MariaDB", "sa.text('(uuid())')", "", databases=("mysql",)),
    default("empty text", "''", "' '"),
    default("a backslash and a colon", "'a\\\\\\\\b:c'", "'%'"),
)  # fmt: skip

CONSTRAINTS = (
    Animal(
        "unique",
        thing("a: Mapped[int] = mapped_column(unique=True)"),
        thing("a: Mapped[int]", "b: Mapped[int | None] = mapped_column(unique=True)"),
        convention=NAMES,
    ),
    Animal(
        "check",
        thing("a: Mapped[int]", arguments="sa.CheckConstraint('a > 0', name='positive')"),
        thing("a: Mapped[int]", NOTE, arguments="sa.CheckConstraint('a > 0', name='positive')"),
        convention=NAMES,
    ),
    Animal(
        "check with a long name",
        "class Entry(Base):\n    __tablename__ = 'customer_subscription_billing_history'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n    q: Mapped[int]\n"
        "    __table_args__ = (sa.CheckConstraint('q > 0', name='quantity_has_to_be_above_zero'),)\n",
        "class Entry(Base):\n    __tablename__ = 'customer_subscription_billing_history'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n    q: Mapped[int]\n"
        "    n: Mapped[int | None]\n"
        "    __table_args__ = (sa.CheckConstraint('q > 0', name='quantity_has_to_be_above_zero'),)\n",
        convention=NAMES,
        cheap=True,
    ),
    Animal(
        "checks of types",
        "class Colour(enum.Enum):\n    red = 'red'\n\n"
        + thing(
            "c = mapped_column(sa.Enum(Colour, name='colour', native_enum=False, create_constraint=True))",
            "f = mapped_column(sa.Boolean(name='flag', create_constraint=True))",
        ),
        "class Colour(enum.Enum):\n    red = 'red'\n\n"
        + thing(
            "c = mapped_column(sa.Enum(Colour, name='colour', native_enum=False, create_constraint=True))",
            "f = mapped_column(sa.Boolean(name='flag', create_constraint=True))",
            NOTE,
        ),
        convention=NAMES,
        cheap=True,
    ),
    Animal(
        "foreign keys",
        thing() + "class Part(Base):\n    __tablename__ = 'part'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    thing_id: Mapped[int] = mapped_column(sa.ForeignKey('thing.id', ondelete='CASCADE'))\n",
        thing() + "class Part(Base):\n    __tablename__ = 'part'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    thing_id: Mapped[int] = mapped_column(sa.ForeignKey('thing.id', ondelete='SET NULL'))\n",
        convention=NAMES,
    ),
    Animal(
        "foreign key that is deferred",
        thing() + "class Part(Base):\n    __tablename__ = 'part'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    thing_id = mapped_column(sa.ForeignKey('thing.id', deferrable=True, initially='DEFERRED'))\n",
        thing(),
        ("postgresql", "sqlite"),
        convention=NAMES,
    ),
    Animal(
        "tables that need each other",
        thing("part_id = mapped_column(sa.ForeignKey('part.id', use_alter=True))")
        + "class Part(Base):\n    __tablename__ = 'part'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    thing_id = mapped_column(sa.ForeignKey('thing.id'))\n",
        thing("part_id = mapped_column(sa.ForeignKey('part.id', use_alter=True))", NOTE)
        + "class Part(Base):\n    __tablename__ = 'part'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    thing_id = mapped_column(sa.ForeignKey('thing.id'))\n",
        ("postgresql", "mysql"),
        convention=NAMES,
    ),
    Animal(
        "exclusion",
        thing(
            "r = mapped_column(postgresql.INT4RANGE)",
            arguments="postgresql.ExcludeConstraint(('r', '&&'), name='no_overlap')",
        ),
        thing(
            "r = mapped_column(postgresql.INT4RANGE)",
            NOTE,
            arguments="postgresql.ExcludeConstraint(('r', '&&'), name='no_overlap')",
        ),
        PG,
    ),
    Animal(
        "nulls not distinct",
        thing("a = mapped_column(sa.Integer)", arguments="sa.UniqueConstraint('a', name='u', postgresql_nulls_not_distinct=True)"),
        thing("a = mapped_column(sa.Integer)", NOTE, arguments="sa.UniqueConstraint('a', name='u', postgresql_nulls_not_distinct=True)"),
        PG,
    ),
    Animal(
        "composite key",
        "class Thing(Base):\n    __tablename__ = 'thing'\n    a: Mapped[int] = mapped_column(primary_key=True)\n"
        "    b: Mapped[int] = mapped_column(primary_key=True)\n",
        "class Thing(Base):\n    __tablename__ = 'thing'\n    a: Mapped[int] = mapped_column(primary_key=True)\n"
        "    b: Mapped[int] = mapped_column(primary_key=True)\n    n: Mapped[int | None]\n",
        convention=NAMES,
    ),
)  # fmt: skip


def index(name: str, first: str, second: str = "", *columns: str, **more: object) -> Animal:
    before, after = (thing("a = mapped_column(sa.String(20))", "b = mapped_column(sa.Integer)", *columns, arguments=a) for a in (first, second))  # fmt: skip
    return Animal(f"index: {name}", before, after, **more)  # type: ignore[arg-type]


INDEXES = (
    index("plain", "sa.Index('i', 'a')", "sa.Index('i', 'a', 'b')"),
    index("unique", "sa.Index('i', 'a', unique=True)"),
    index("of an expression", "sa.Index('i', sa.text('lower(a)'))", databases=("postgresql", "sqlite"), cheap=True),
    index("of func", "sa.Index('i', sa.func.lower(a))", databases=("postgresql", "sqlite")),
    index("descending", "sa.Index('i', a.desc())"),
    index("partial", "sa.Index('i', 'a', postgresql_where=sa.text('b > 0'), sqlite_where=sa.text('b > 0'))"),
    index("covering", "sa.Index('i', 'a', postgresql_include=['b'])", databases=PG),
    index("gin", "sa.Index('i', 'j', postgresql_using='gin')", "", "j = mapped_column(postgresql.JSONB)", databases=PG),
    index("operator class", "sa.Index('i', 'a', postgresql_ops={'a': 'varchar_pattern_ops'})", databases=PG),
    index("for one database", "sa.Index('i', 'a').ddl_if(dialect='postgresql')", cheap=True),
    index("prefix of MySQL", "sa.Index('i', 'a', mysql_length=5)", databases=("mysql",)),
    index("concurrent", "sa.Index('i', 'a')", "sa.Index('i', 'a'), sa.Index('k', 'b')", databases=PG),
)  # fmt: skip

GENERATED = (
    Animal(
        "identity",
        "class Thing(Base):\n    __tablename__ = 'thing'\n"
        "    id: Mapped[int] = mapped_column(sa.Identity(), primary_key=True)\n",
        "class Thing(Base):\n    __tablename__ = 'thing'\n"
        "    id: Mapped[int] = mapped_column(sa.Identity(), primary_key=True)\n"
        "    n: Mapped[int | None]\n",
    ),
    Animal(
        "identity with options",
        "class Thing(Base):\n    __tablename__ = 'thing'\n"
        "    id = mapped_column(sa.BigInteger, sa.Identity(always=True, start=100, increment=10), primary_key=True)\n",
        "class Thing(Base):\n    __tablename__ = 'thing'\n"
        "    id = mapped_column(sa.BigInteger, sa.Identity(always=True, start=100, increment=10), primary_key=True)\n"
        "    n: Mapped[int | None]\n",
        PG,
    ),
    Animal(
        "computed",
        thing("a: Mapped[int]", "b: Mapped[int] = mapped_column(sa.Computed('a * 2', persisted=True))"),
        thing("a: Mapped[int]", "b: Mapped[int] = mapped_column(sa.Computed('a * 2', persisted=True))", NOTE),
        cheap=True,
    ),
    Animal(
        "computed, virtual",
        thing("a: Mapped[int]", "b: Mapped[int] = mapped_column(sa.Computed('a * 2', persisted=False))"),
        thing("a: Mapped[int]", "b: Mapped[int] = mapped_column(sa.Computed('a * 2', persisted=False))", NOTE),
        ("sqlite", "mysql"),
    ),
    Animal(
        "sequence",
        thing("n = mapped_column(sa.Integer, sa.Sequence('numbers'), server_default=sa.Sequence('numbers').next_value())"),
        thing("n = mapped_column(sa.Integer, sa.Sequence('numbers'), server_default=sa.Sequence('numbers').next_value())", "m: Mapped[int | None]"),
        PG,
        prepare={"postgresql": ("CREATE SEQUENCE numbers",)},
    ),
)  # fmt: skip

OTHERS = (
    Animal(
        "comments",
        thing("a: Mapped[int] = mapped_column(comment=\"it's\")", arguments="{'comment': 'things: all'}").replace("({'comment': 'things: all'},)", "{'comment': 'things: all'}"),
        thing("a: Mapped[int] = mapped_column(comment='another')", arguments="{'comment': 'things'}").replace("({'comment': 'things'},)", "{'comment': 'things'}"),
    ),
    Animal(
        "odd names",
        "class Thing(Base):\n    __tablename__ = 'Order Items'\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    user: Mapped[int] = mapped_column('user', index=True)\n    b: Mapped[int] = mapped_column('Größe %')\n",
        "class Thing(Base):\n    __tablename__ = 'Order Items'\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    user: Mapped[int | None] = mapped_column('user', index=True)\n    b: Mapped[int] = mapped_column('Größe %')\n",
        convention=NAMES,
    ),
    Animal(
        "nullable",
        thing("a: Mapped[int | None]", "b: Mapped[int]"),
        thing("a: Mapped[int]", "b: Mapped[int | None]"),
    ),
    Animal(
        "a table comes and goes",
        thing() + "class Old(Base):\n    __tablename__ = 'old'\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    thing_id = mapped_column(sa.ForeignKey('thing.id'), index=True)\n",
        thing() + "class New(Base):\n    __tablename__ = 'new'\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    thing_id = mapped_column(sa.ForeignKey('thing.id'), index=True)\n",
        convention=NAMES,
        cheap=True,
    ),
    Animal(
        "another schema",
        "class Thing(Base):\n    __tablename__ = 'thing'\n    __table_args__ = {'schema': 's'}\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n",
        "class Thing(Base):\n    __tablename__ = 'thing'\n    __table_args__ = {'schema': 's'}\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n    n: Mapped[int | None]\n",
        PG,
        prepare={"postgresql": ("CREATE SCHEMA s",)},
    ),
    Animal(
        "collation",
        thing("a = mapped_column(sa.String(20, collation='C'))"),
        thing("a = mapped_column(sa.String(30, collation='C'))"),
        PG,
    ),
    Animal(
        "nocase",
        thing("a = mapped_column(sa.String(20, collation='NOCASE'))"),
        thing("a = mapped_column(sa.String(20, collation='NOCASE'))", NOTE),
        ("sqlite",),
    ),
    Animal(
        "engine and charset",
        thing("a = mapped_column(sa.String(20))", arguments="{'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4'}").replace("({", "{").replace("},)", "}"),
        thing("a = mapped_column(sa.String(20))", NOTE, arguments="{'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4'}").replace("({", "{").replace("},)", "}"),
        ("mysql",),
    ),
    Animal(
        "autoincrement of SQLite",
        thing(NOTE, arguments="{'sqlite_autoincrement': True}").replace("({", "{").replace("},)", "}"),
        thing(NOTE, "m: Mapped[int | None]", arguments="{'sqlite_autoincrement': True}").replace("({", "{").replace("},)", "}"),
        ("sqlite",),
    ),
)  # fmt: skip

ITS_OWN = thing()
ITS_OWN_LATER = thing(NOTE)

NOT_OURS = (
    Animal(
        "partitions",
        "class Event(Base):\n    __tablename__ = 'event'\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    at: Mapped[datetime.date] = mapped_column(primary_key=True)\n"
        "    kind: Mapped[int] = mapped_column(index=True)\n"
        "    __table_args__ = {'postgresql_partition_by': 'RANGE (at)'}\n",
        "class Event(Base):\n    __tablename__ = 'event'\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    at: Mapped[datetime.date] = mapped_column(primary_key=True)\n"
        "    kind: Mapped[int] = mapped_column(index=True)\n    n: Mapped[int | None]\n"
        "    __table_args__ = {'postgresql_partition_by': 'RANGE (at)'}\n",
        PG,
        between={
            "postgresql": (
                "CREATE TABLE event_2026 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
            )
        },
        cheap=True,
    ),
    Animal(
        "a table of an extension",
        ITS_OWN,
        ITS_OWN_LATER,
        PG,
        between={
            "postgresql": (
                "CREATE EXTENSION citext",
                "CREATE TABLE spatial_ref_sys (srid integer PRIMARY KEY)",
                "ALTER EXTENSION citext ADD TABLE spatial_ref_sys",
            )
        },
        cheap=True,
    ),
    Animal(
        "a table of another library",
        ITS_OWN,
        ITS_OWN_LATER,
        between={name: ("CREATE TABLE apscheduler_jobs (id integer PRIMARY KEY)",) for name in ALL},
        unmanaged=("apscheduler_*",),
        cheap=True,
    ),
    Animal(
        "a foreign table",
        ITS_OWN,
        ITS_OWN_LATER,
        PG,
        between={
            "postgresql": (
                "CREATE EXTENSION file_fdw",
                "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
                "CREATE FOREIGN TABLE passwords (line text) SERVER files OPTIONS (filename '/etc/hostname')",
            )
        },
        cheap=True,
    ),
    Animal(
        "a mapped view",
        thing("a: Mapped[int | None]") + "class Seen(Base):\n    __tablename__ = 'seen'\n"
        "    __table_args__ = {'info': {'is_view': True}}\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n",
        thing("a: Mapped[int | None]", NOTE) + "class Seen(Base):\n    __tablename__ = 'seen'\n"
        "    __table_args__ = {'info': {'is_view': True}}\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n",
        between={name: ("CREATE VIEW seen AS SELECT id FROM thing",) for name in ALL},
        cheap=True,
    ),
    Animal(
        "inherited tables",
        ITS_OWN,
        ITS_OWN_LATER,
        PG,
        between={"postgresql": ("CREATE TABLE thing_archive () INHERITS (thing)",)},
        cheap=True,
    ),
)  # fmt: skip

LONG = "customer_subscription_billing_history"

STRANGERS = (
    own("ltree", "Path", databases=PG, prepare={"postgresql": ("CREATE EXTENSION ltree",)}),
    own("enum of values", "sa.Enum(Colour, values_callable=lambda kind: [str(one.value) for one in kind])"),
    own("enum with odd words", "sa.Enum(\"it's\", 'a b', '%', 'Ä', name='odd words')"),
    own("in a range", "postgresql.ARRAY(postgresql.NUMRANGE)", databases=PG),
    own("array of arrays of enum", "postgresql.ARRAY(sa.Enum(Colour), dimensions=2)", databases=PG),
    own("domain of an enum's text", "postgresql.DOMAIN('word', sa.Text, check=\"VALUE <> ''\")", databases=PG),
    own("json with an array", "sa.JSON().with_variant(postgresql.ARRAY(sa.Text), 'postgresql')"),
    own("variant of MySQL and PostgreSQL", "sa.Text().with_variant(postgresql.CITEXT(), 'postgresql').with_variant(mysql.LONGTEXT(), 'mysql', 'mariadb')", prepare={"postgresql": ("CREATE EXTENSION citext",)}),
    kinds_of("uuid that is text", "sa.Uuid(native_uuid=False)", "sa.Uuid(native_uuid=False, as_uuid=False)"),
    kinds_of("date and time", "sa.Time(timezone=True)", "sa.Time"),
    kinds_of("small numbers", "sa.REAL", "sa.DOUBLE_PRECISION"),
    kinds_of("texts of SQL", "sa.NVARCHAR(20)", "sa.NCHAR(20)", databases=("sqlite", "mysql")),
    kinds_of("postgresql: months", "postgresql.INTERVAL(fields='YEAR TO MONTH')", "postgresql.INTERVAL(precision=0)", databases=PG),
    kinds_of("postgresql: dates in ranges", "postgresql.DATERANGE", "postgresql.DATEMULTIRANGE", databases=("postgresql",)),
    kinds_of("postgresql: regclass and bytes", "postgresql.REGCLASS", "postgresql.BYTEA", databases=("postgresql",)),
    kinds_of("mysql: years and bits", "mysql.YEAR", "mysql.BIT(8)", databases=("mysql",)),
    kinds_of("mysql: zeros", "mysql.INTEGER(5, zerofill=True)", "mysql.DOUBLE(10, 2)", databases=("mysql",)),
    kinds_of("mysql: charset", "mysql.VARCHAR(20, charset='latin1', collation='latin1_bin')", "mysql.VARCHAR(30, charset='utf8mb4')", databases=("mysql",)),
    default("bits", "sa.text(\"B'0101'\")", "sa.text(\"B'1111'\")", "postgresql.BIT(4)", databases=PG),
    default("a range", "sa.text(\"'[1,5)'\")", "sa.text(\"'empty'\")", "postgresql.INT4RANGE", databases=PG),
    default("money", "sa.text('0.00')", "sa.text(\"'1.50'\")", "postgresql.MONEY", databases=PG),
    default("hstore", "sa.text(\"''\")", "sa.text(\"'a=>1'\")", "postgresql.HSTORE", databases=PG, prepare={"postgresql": ("CREATE EXTENSION hstore",)}),
    default("a percent sign", "'100 %'", "'%s'"),
    default("json of MariaDB", "sa.text(\"('{}')\")", "", "sa.JSON", databases=("mysql",)),
    default("null", "sa.null()", "sa.text('NULL')"),
    default("a date", "'2026-01-01'", "sa.text('CURRENT_DATE')", "sa.Date", databases=("postgresql", "sqlite")),
    index("nulls last", "sa.Index('i', a.desc().nullslast())", databases=PG),
    index("of JSON", "sa.Index('i', sa.text(\"(j ->> 'k')\"))", "", "j = mapped_column(postgresql.JSONB)", databases=PG),
    index("of full text", "sa.Index('i', 'v', postgresql_using='gin')", "", "v = mapped_column(postgresql.TSVECTOR, sa.Computed(\"to_tsvector('english', coalesce(a, ''))\", persisted=True))", databases=PG),
    index("brin", "sa.Index('i', 'b', postgresql_using='brin', postgresql_with={'pages_per_range': 32})", databases=PG),
    index("fulltext of MariaDB", "sa.Index('i', 'a', mysql_prefix='FULLTEXT')", databases=("mysql",)),
    index("unique and partial", "sa.Index('i', 'a', unique=True, postgresql_where=b.is_(None), sqlite_where=b.is_(None))", databases=("postgresql", "sqlite")),
    index("with a collation", "sa.Index('i', sa.text('a COLLATE \"C\"'))", databases=PG),
    Animal(
        "check with a percent sign",
        thing("a = mapped_column(sa.String(20))", arguments="sa.CheckConstraint(\"a NOT LIKE '%x%'\", name='no_x')"),
        thing("a = mapped_column(sa.String(20))", NOTE, arguments="sa.CheckConstraint(\"a NOT LIKE '%x%'\", name='no_x')"),
        convention=NAMES,
    ),
    Animal(
        "long names of all constraints",
        thing() + f"class Long(Base):\n    __tablename__ = '{LONG}'\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    a_rather_long_column_for_things: Mapped[int] = mapped_column(sa.ForeignKey('thing.id'), unique=True)\n"
        "    another_rather_long_column_name: Mapped[int] = mapped_column(index=True)\n",
        thing() + f"class Long(Base):\n    __tablename__ = '{LONG}'\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    a_rather_long_column_for_things: Mapped[int] = mapped_column(sa.ForeignKey('thing.id'), unique=True)\n"
        "    another_rather_long_column_name: Mapped[int] = mapped_column(index=True)\n    n: Mapped[int | None]\n",
        convention=NAMES,
    ),
    Animal(
        "two schemas, one name",
        "class One(Base):\n    __tablename__ = 'thing'\n    __table_args__ = {'schema': 's'}\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "class Two(Base):\n    __tablename__ = 'thing'\n    __table_args__ = {'schema': 'My Schema'}\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    one_id = mapped_column(sa.ForeignKey('s.thing.id'), index=True)\n",
        "class One(Base):\n    __tablename__ = 'thing'\n    __table_args__ = {'schema': 's'}\n    id: Mapped[int] = mapped_column(primary_key=True)\n    n: Mapped[int | None]\n"
        "class Two(Base):\n    __tablename__ = 'thing'\n    __table_args__ = {'schema': 'My Schema'}\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    one_id = mapped_column(sa.ForeignKey('s.thing.id'), index=True)\n",
        PG,
        convention=NAMES,
        prepare={"postgresql": ("CREATE SCHEMA s", 'CREATE SCHEMA "My Schema"')},
    ),
    Animal(
        "joined inheritance of models",
        "class Thing(Base):\n    __tablename__ = 'thing'\n    id: Mapped[int] = mapped_column(primary_key=True)\n    kind: Mapped[str] = mapped_column(sa.String(9))\n"
        "    __mapper_args__ = {'polymorphic_on': 'kind', 'polymorphic_identity': 'thing'}\n"
        "class Big(Thing):\n    __tablename__ = 'big'\n    id: Mapped[int] = mapped_column(sa.ForeignKey('thing.id'), primary_key=True)\n"
        "    __mapper_args__ = {'polymorphic_identity': 'big'}\n",
        "class Thing(Base):\n    __tablename__ = 'thing'\n    id: Mapped[int] = mapped_column(primary_key=True)\n    kind: Mapped[str] = mapped_column(sa.String(9))\n"
        "    __mapper_args__ = {'polymorphic_on': 'kind', 'polymorphic_identity': 'thing'}\n"
        "class Big(Thing):\n    __tablename__ = 'big'\n    id: Mapped[int] = mapped_column(sa.ForeignKey('thing.id'), primary_key=True)\n    size: Mapped[int | None]\n"
        "    __mapper_args__ = {'polymorphic_identity': 'big'}\n",
        convention=NAMES,
    ),
    Animal(
        "nocase, a default as text()",
        thing("a = mapped_column(sa.String(20, collation='NOCASE'))"),
        thing("a = mapped_column(sa.String(20, collation='NOCASE'))", "n: Mapped[int] = mapped_column(server_default=sa.text('1'))"),
        ("sqlite",),
        cheap=True,
    ),
    Animal(
        "a column goes from beside a generated one",
        thing("a: Mapped[int]", "b: Mapped[int] = mapped_column(sa.Computed('a * 2', persisted=True))", "m: Mapped[int | None]"),
        thing("a: Mapped[int]", "b: Mapped[int] = mapped_column(sa.Computed('a * 2', persisted=True))"),
        ("sqlite", "postgresql"),
        cheap=True,
    ),
    Animal(
        "without rowid",
        "class Thing(Base):\n    __tablename__ = 'thing'\n    __table_args__ = {'sqlite_with_rowid': False}\n    id: Mapped[str] = mapped_column(sa.String(9), primary_key=True)\n    m: Mapped[int | None]\n",
        "class Thing(Base):\n    __tablename__ = 'thing'\n    __table_args__ = {'sqlite_with_rowid': False}\n    id: Mapped[str] = mapped_column(sa.String(9), primary_key=True)\n",
        ("sqlite",),
    ),
    Animal(
        "an extension's table in a schema of ours",
        "class Thing(Base):\n    __tablename__ = 'thing'\n    __table_args__ = {'schema': 's'}\n    id: Mapped[int] = mapped_column(primary_key=True)\n",
        "class Thing(Base):\n    __tablename__ = 'thing'\n    __table_args__ = {'schema': 's'}\n    id: Mapped[int] = mapped_column(primary_key=True)\n    n: Mapped[int | None]\n",
        PG,
        prepare={"postgresql": ("CREATE SCHEMA s",)},
        between={"postgresql": ("CREATE EXTENSION citext", "CREATE TABLE s.lookup (n integer)", "ALTER EXTENSION citext ADD TABLE s.lookup", "CREATE TABLE s.heir () INHERITS (s.thing)")},
    ),
)  # fmt: skip

UTILS = "import sqlalchemy_utils as utils\n"
STORED = "from fastapi_storages import FileSystemStorage\nfrom fastapi_storages.integrations.sqlalchemy import FileType\n"


def of(
    library: str, name: str, imports: str, first: str, second: str = "", **more: object
) -> Animal:
    """Columns of a public library's types, and one more column or other types."""
    columns = [
        f"c{number} = mapped_column({kind})" for number, kind in enumerate(first.split(" | "))
    ]
    others = [
        f"c{number} = mapped_column({kind})" for number, kind in enumerate(second.split(" | "))
    ]
    after = thing(*(others if second else (*columns, NOTE)))
    return Animal(f"{library}: {name}", thing(*columns), after, kinds=imports, **more)  # type: ignore[arg-type]


LIBRARIES = (
    of(
        "sqlmodel",
        "texts",
        "import sqlmodel\n",
        "sqlmodel.AutoString(50) | sqlmodel.AutoString(9)",
        "sqlmodel.AutoString(60) | sqlmodel.AutoString(9)",
        cheap=True,
    ),
    of(
        "sqlmodel",
        "texts without a length",
        "import sqlmodel\n",
        "sqlmodel.AutoString",
        databases=("postgresql", "sqlite"),
    ),
    of(
        "advanced-alchemy",
        "keys and moments",
        "from advanced_alchemy.types import *\n",
        "GUID, unique=True | GUID(length=16) | DateTimeUTC(timezone=True)",
        cheap=True,
    ),
    of(
        "advanced-alchemy",
        "documents and numbers",
        "from advanced_alchemy.types import *\n",
        "JsonB | BigIntIdentity | Bool",
        old=True,
    ),
    of(
        "fastapi-users",
        "keys and moments",
        "from fastapi_users_db_sqlalchemy.generics import *\n",
        "GUID, unique=True | TIMESTAMPAware(timezone=True)",
        old=True,
    ),
    of(
        "sqlalchemy-utils",
        "addresses",
        UTILS,
        "utils.EmailType | utils.UUIDType | utils.UUIDType(binary=False), unique=True | utils.IPAddressType",
        cheap=True,
    ),
    of("sqlalchemy-utils", "lists", UTILS, "utils.JSONType | utils.ScalarListType(int)"),
    of("sqlalchemy-utils", "time zones", UTILS, "utils.TimezoneType('zoneinfo')"),
    of(
        "sqlalchemy-utils",
        "a choice",
        UTILS,
        "utils.ChoiceType([('a', 'A'), ('b', 'B')], impl=sa.String(5))",
        "utils.ChoiceType([('a', 'A'), ('c', 'C')], impl=sa.String(7))",
    ),
    of(
        "sqlalchemy-utils",
        "full text",
        UTILS,
        "utils.TSVectorType('c0', regconfig='pg_catalog.english')",
        databases=PG,
    ),
    of(
        "sqlalchemy-utils",
        "ltree",
        UTILS,
        "utils.LtreeType",
        databases=PG,
        prepare={"postgresql": ("CREATE EXTENSION ltree",)},
    ),
    of(
        "GeoAlchemy2",
        "a point",
        "import geoalchemy2\n",
        "geoalchemy2.Geometry('POINT', srid=-1, spatial_index=False)",
        databases=("mysql",),
    ),
    of(
        "pgvector",
        "vectors",
        "import pgvector.sqlalchemy as pgv\n",
        "pgv.VECTOR(3) | pgv.HALFVEC(3) | pgv.BIT(3) | pgv.SPARSEVEC(3)",
        "pgv.VECTOR(4) | pgv.HALFVEC(3) | pgv.BIT(3) | pgv.SPARSEVEC(3)",
        databases=PG,
        prepare={"postgresql": ("CREATE EXTENSION vector",)},
    ),
    of("fastapi-storages", "a file", STORED, "FileType(storage=FileSystemStorage(path='files'))"),
)

EVERY: tuple[Animal, ...] = (
    *GENERIC,
    *ENUMS,
    *DECORATORS,
    *POSTGRESQL,
    *VARIANTS,
    *DEFAULTS,
    *CONSTRAINTS,
    *INDEXES,
    *GENERATED,
    *OTHERS,
    *NOT_OURS,
    *STRANGERS,
    *LIBRARIES,
)
CORPUS = tuple(one for one in EVERY if not (one.old and sa.__version__ >= "2.1"))
"""Those that the SQLAlchemy here has."""
