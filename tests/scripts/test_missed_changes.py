"""What autogenerate misses, found and written: 31 kinds of change on PostgreSQL, and more.

Each change is two metadata. The first makes a database; the second is what the models say
now. Autogenerate compares as it does by default and with compare_server_default; ours
compares the catalog with that of create_all().
"""

import itertools
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    Connection,
    DateTime,
    Enum,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from projects.schemas import Schemas, store
from servers.postgres import PostgresServer
from toolkit.database.catalog import Difference, differences, round_trip
from toolkit.migration.missed import Missed, add_lines, find_missed
from toolkit.migration.missed.find import counts, default_is_wanted
from toolkit.migration.missed.postgresql import without_brackets

Change = tuple[Callable[[], MetaData], Callable[[], MetaData]]


@pytest.fixture
async def schemas(make_database: Callable[[str], str]) -> AsyncIterator[Schemas]:
    schemas = Schemas(make_database)
    yield schemas
    await schemas.close()


class Reused(Schemas):
    """Two databases in turn, for all tests of this file: what was in one is dropped."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(lambda _: "")
        self._turns = itertools.cycle(urls)

    async def made(self, dialect: str, metadata: MetaData) -> str:
        url = next(self._turns)
        await self.on(url, create_anew, metadata)
        return url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reused(postgres_server: PostgresServer) -> AsyncIterator[Schemas]:
    names = ("asp_missed_one", "asp_missed_other")
    for name in names:
        postgres_server.create_database(name)
    schemas = Reused([postgres_server.url(name) for name in names])
    yield schemas
    await schemas.close()
    for name in names:
        postgres_server.drop_database(name)


def create_anew(connection: Connection, metadata: MetaData) -> None:
    connection.exec_driver_sql("DROP SCHEMA IF EXISTS billing CASCADE")
    connection.exec_driver_sql("DROP SCHEMA public CASCADE")
    connection.exec_driver_sql("CREATE SCHEMA public")
    metadata.create_all(connection)


def stored(metadata: MetaData, **parameters: object) -> MetaData:
    store(metadata.tables["t"], **parameters)
    return metadata


def one_table(*items: Any) -> MetaData:
    metadata = MetaData()
    Table("t", metadata, *items)
    return metadata


def identity(always: bool = True, **options: Any) -> MetaData:
    generated = Identity(always=always, start=5, **options)
    return one_table(Column("id", Integer, generated, primary_key=True))


def base(*items: Any, name: str = "t", **keywords: Any) -> MetaData:
    metadata = MetaData()
    Table(name, metadata, Column("id", Integer, primary_key=True), *items, **keywords)
    return metadata


def plain(*items: Any, **keywords: Any) -> MetaData:
    """A table with two plain columns beside what is given."""
    return base(Column("a", Integer), Column("b", String(50)), *items, **keywords)


def two_tables(*options: Any, **keywords: Any) -> MetaData:
    metadata = plain()
    Table("parent", metadata, Column("id", Integer, primary_key=True))
    if options or keywords:
        metadata.tables["t"].append_constraint(
            sa.ForeignKeyConstraint(["a"], ["parent.id"], name="fk_a", **keywords)
        )
    return metadata


def with_sequence(**options: Any) -> MetaData:
    metadata = plain()
    sa.Sequence("numbers", start=100, metadata=metadata, **options)
    return metadata


def colors(*values: str) -> MetaData:
    return base(
        Column("c", Enum(*values, name="color"), server_default="red"),
        CheckConstraint("c <> 'blue'", name="ck_c"),
        Index("ix_c", "c", postgresql_where=text("c = 'red'")),
    )


def room(*items: Any) -> MetaData:
    return base(Column("during", postgresql.TSTZRANGE), *items)


def ordered(*names: str) -> MetaData:
    return base(*(Column(name, Integer) for name in names))


def keyed(*names: str) -> MetaData:
    metadata = MetaData()
    columns = (Column(n, Integer, primary_key=n in names, autoincrement=False) for n in "ab")
    Table("t", metadata, *(c for c in columns), Column("n", Integer, nullable=False))
    for column in metadata.tables["t"].columns:
        column.nullable = False
    return metadata


def where(condition: str) -> MetaData:
    return plain(Index("ix", "a", postgresql_where=text(condition)))


def check(condition: str, name: str | None = "ck_a") -> MetaData:
    return plain(CheckConstraint(condition, name=name))


def column(*arguments: Any, **keywords: Any) -> MetaData:
    return base(Column("x", *arguments, **keywords))


def computed(expression: str, unique: bool | None = None) -> MetaData:
    return base(
        Column("a", Integer),
        Column("x", Integer, Computed(expression, persisted=True), index=True, unique=unique),
    )


CHANGES: dict[str, Change] = {
    "column type": (lambda: column(Integer), lambda: column(sa.BigInteger)),
    "column length": (lambda: column(String(50)), lambda: column(String(100))),
    "time zone": (lambda: column(DateTime()), lambda: column(DateTime(timezone=True))),
    "nullable": (lambda: column(Integer), lambda: column(Integer, nullable=False)),
    "column renamed": (lambda: base(Column("x", Integer)), lambda: base(Column("y", Integer))),
    "unique constraint": (plain, lambda: plain(UniqueConstraint("a", name="uq_a"))),
    "nulls not distinct": (
        lambda: plain(UniqueConstraint("a", name="uq_a")),
        lambda: plain(UniqueConstraint("a", name="uq_a", postgresql_nulls_not_distinct=True)),
    ),
    "index": (plain, lambda: plain(Index("ix", "a"))),
    "index DESC": (
        lambda: plain(Index("ix", "a")),
        lambda: plain(Index("ix", text("a DESC"))),
    ),
    "index on an expression": (plain, lambda: plain(Index("ix", func.lower(text("b"))))),
    "foreign key": (two_tables, lambda: two_tables(True)),
    "foreign key ON DELETE": (
        lambda: two_tables(True),
        lambda: two_tables(True, ondelete="CASCADE"),
    ),
    "column comment": (lambda: column(Integer), lambda: column(Integer, comment="it's")),
    "table comment": (plain, lambda: plain(comment="things")),
    "collation": (
        lambda: column(String(50, collation="POSIX")),
        lambda: column(String(50, collation="C")),
    ),
    "server default changed": (
        lambda: column(Integer, server_default="1"),
        lambda: column(Integer, server_default="2"),
    ),
    "server default added": (
        lambda: column(String(20)),
        lambda: column(String(20), server_default="a:b"),
    ),
    "identity added": (
        lambda: base(name="t"),
        identity,
    ),
    "enum value": (lambda: colors("red", "blue"), lambda: colors("red", "green", "blue")),
    "CHECK, named": (plain, lambda: check("a > 0")),
    "CHECK, unnamed": (plain, lambda: check("a > 0", None)),
    "CHECK, its text": (lambda: check("a > 0"), lambda: check("a > 1 AND b IN ('x', 'y')")),
    "index WHERE": (lambda: where("a > 0"), lambda: where("a > 1")),
    "index INCLUDE": (
        lambda: plain(Index("ix", "a")),
        lambda: plain(Index("ix", "a", postgresql_include=["b"])),
    ),
    "index method": (
        lambda: base(Column("x", postgresql.JSONB), Index("ix", "x")),
        lambda: base(Column("x", postgresql.JSONB), Index("ix", "x", postgresql_using="gin")),
    ),
    "primary key": (lambda: keyed("a"), lambda: keyed("a", "b")),
    "EXCLUDE": (
        room,
        lambda: room(ExcludeConstraint((Column("during"), "&&"), name="no_overlap")),
    ),
    "computed expression": (lambda: computed("a * 2"), lambda: computed("a * 3")),
    "sequence": (plain, with_sequence),
    "storage parameters": (plain, lambda: stored(plain(), fillfactor=70)),
    "column order": (lambda: ordered("a", "b"), lambda: ordered("b", "a")),
}
MISSED_BY_DEFAULT = {
    *("server default changed", "server default added", "identity added", "enum value"),
    *("CHECK, named", "CHECK, unnamed", "CHECK, its text", "index WHERE", "index INCLUDE"),
    *("index method", "primary key", "EXCLUDE", "computed expression", "sequence"),
    *("storage parameters", "column order"),
}
SEEN_WITH_DEFAULTS = {"server default changed", "server default added", "identity added"}


async def test_thirty_one_changes(schemas: Schemas, show_at_the_end: Callable[[str], None]) -> None:
    """The table: change, seen by autogenerate, with compare_server_default, by ours."""
    assert len(CHANGES) == 31
    rows: list[tuple[str, bool, bool, bool]] = []
    url, wanted_url = schemas.new("postgresql"), schemas.new("postgresql")
    for change, (before, after) in CHANGES.items():
        await schemas.on(url, create_anew, before())
        await schemas.on(wanted_url, create_anew, after())
        default = await schemas.on(url, autogenerate_sees, after())
        more = await schemas.on(url, autogenerate_sees, after(), True)
        old, new = await schemas.catalog(url), await schemas.catalog(wanted_url)
        rows.append((change, default, more, bool(differences(old, new, names=False, order=True))))
        assert differences(old, old, order=True) == differences(new, new, order=True) == []
    counts = [sum(row[n] for row in rows) for n in (1, 2, 3)]
    lines = [f"{'change':<26}{'autogenerate':>14}{'+ server default':>18}{'ours':>7}"]
    for name, *seen in rows:
        shown = ["yes" if one else "-" for one in seen]
        lines.append(f"{name:<26}{shown[0]:>14}{shown[1]:>18}{shown[2]:>7}")
    lines.append(f"{f'of {len(rows)}':<26}{counts[0]:>14}{counts[1]:>18}{counts[2]:>7}")
    show_at_the_end("\n".join(lines))
    assert counts == [15, 18, 31]
    assert {row[0] for row in rows if not row[1]} == MISSED_BY_DEFAULT
    assert {row[0] for row in rows if not row[1] and row[2]} == SEEN_WITH_DEFAULTS


def autogenerate_sees(connection: Connection, metadata: MetaData, defaults: bool = False) -> bool:
    context = MigrationContext.configure(connection, opts={"compare_server_default": defaults})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the computed expression that it does not compare
        return bool(compare_metadata(context, metadata))


@dataclass
class Proof:
    """A change that went the whole way."""

    missed: list[Missed]
    source: str


async def prove(schemas: Schemas, dialect: str, before: MetaData, after: MetaData) -> Proof:
    """Autogenerate, add what it missed, run up, down and up: every catalog as it should be."""
    url = await schemas.made(dialect, before)
    wanted = await schemas.catalog(await schemas.made(dialect, after))
    parent = await schemas.catalog(url)
    draft = await schemas.autogenerate(url, after, dialect)
    migrated = await schemas.migrate(url, draft)
    missed = find_missed(migrated, wanted, parent=parent)
    await schemas.migrate(url, draft, "downgrade")
    source = add_lines(draft, missed)
    upgraded = await schemas.migrate(url, source)
    assert find_missed(upgraded, wanted) == [], source
    downgraded = await schemas.migrate(url, source, "downgrade")
    assert round_trip(parent, upgraded, downgraded) == [], source
    again = await schemas.migrate(url, source)
    assert differences(upgraded, again) == [], source
    assert differences(upgraded, wanted, names=False) == [], source
    return Proof(missed, source)


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "column order"])
@pytest.mark.any_sqlalchemy
@pytest.mark.asyncio(loop_scope="module")
async def test_the_lines_make_what_the_models_say(reused: Schemas, change: str) -> None:
    before, after = CHANGES[change]
    proof = await prove(reused, "postgresql", before(), after())
    assert bool(proof.missed) == (change in MISSED_BY_DEFAULT), proof.missed
    for one in proof.missed:
        assert one.upgrade_lines, one.words
        assert one.downgrade_lines, one.words


async def test_column_order_is_told_only_when_asked(schemas: Schemas) -> None:
    before, after = (change() for change in CHANGES["column order"])
    old = await schemas.catalog(await schemas.made("postgresql", before))
    new = await schemas.catalog(await schemas.made("postgresql", after))
    assert differences(old, new) == []
    assert find_missed(old, new) == []
    (told,) = find_missed(old, new, order=True)
    assert "another order (id, a, b, the models have id, b, a)" in told.words
    assert told.upgrade_lines == ()


def odd_keys() -> list[Any]:
    return [text("b varchar_pattern_ops"), text("a DESC NULLS LAST"), text("(a + 1)")]


MORE_CHANGES: dict[str, Change] = {
    "collation added": (lambda: column(String(50)), lambda: column(String(50, collation="C"))),
    "serial to identity": (
        base,
        lambda: one_table(Column("id", Integer, Identity(), primary_key=True)),
    ),
    "identity changed": (identity, lambda: identity(always=False, increment=7)),
    "sequence changed": (with_sequence, lambda: with_sequence(increment=2, cycle=True)),
    "computed expression with a unique index": (
        lambda: computed("a * 2", unique=True),
        lambda: computed("a * 3", unique=True),
    ),
    "no longer computed": (
        lambda: computed("a * 2", unique=True),
        lambda: base(Column("a", Integer), Column("x", Integer, index=True, unique=True)),
    ),
    "deferrable unique": (
        lambda: plain(UniqueConstraint("a", name="uq_a")),
        lambda: plain(UniqueConstraint("a", name="uq_a", deferrable=True, initially="DEFERRED")),
    ),
    "another unnamed CHECK": (
        lambda: check("a > 0", None),
        lambda: plain(CheckConstraint("a < 9"), CheckConstraint("a > 0")),
    ),
    "operator class and order": (
        lambda: plain(Index("ix", *odd_keys())),
        lambda: plain(Index("ix", *odd_keys(), postgresql_include=["id"])),
    ),
    "default with a colon": (
        lambda: column(String(20), server_default="a"),
        lambda: column(String(20), server_default=text("' \\:x \"y\"'")),
    ),
    "storage parameter changed": (
        lambda: stored(plain(), fillfactor=70),
        lambda: stored(plain(), fillfactor=80, autovacuum_enabled="false"),
    ),
    "names that have to be quoted": (
        lambda: base(Column("Group", String(9)), name="Order"),
        lambda: base(
            Column("Group", String(9, collation="C"), server_default="3"),
            CheckConstraint("\"Group\" > ''", name="Positive"),
            Index("Ix Group", text('"Group" DESC'), postgresql_where=text("\"Group\" > 'x'")),
            name="Order",
        ),
    ),
    "schema": (
        lambda: plain(schema="billing"),
        lambda: plain(
            CheckConstraint("a > 0", name="ck_a"),
            Index("ix", "a", postgresql_where=text("a > 1")),
            schema="billing",
        ),
    ),
}


@pytest.mark.parametrize("change", MORE_CHANGES)
@pytest.mark.any_sqlalchemy
@pytest.mark.asyncio(loop_scope="module")
async def test_more_changes_than_thirty_one(reused: Schemas, change: str) -> None:
    before, after = (make() for make in MORE_CHANGES[change])
    if change == "schema":
        for metadata in (before, after):
            sa.event.listen(metadata, "before_create", sa.DDL("CREATE SCHEMA billing"))
    proof = await prove(reused, "postgresql", before, after)
    assert proof.missed
    assert all(one.upgrade_lines for one in proof.missed), proof.missed
    if change == "another unnamed CHECK":
        (one,) = proof.missed
        assert "a < 9" in one.words


def sized(*items: Any) -> MetaData:
    return base(Column("a", Integer), Column("b", String(50)), *items)


ELSEWHERE: dict[str, tuple[tuple[str, ...], Callable[[], MetaData], Callable[[], MetaData]]] = {
    "CHECK, named": (
        ("sqlite", "mysql"),
        sized,
        lambda: sized(CheckConstraint("a > 0 AND b <> 'x (y)'", name="ck_a")),
    ),
    "CHECK, its text": (
        ("sqlite", "mysql"),
        lambda: sized(CheckConstraint("a > 0", name="ck_a")),
        lambda: sized(CheckConstraint("a > 1", name="ck_a")),
    ),
    "CHECK, unnamed": (("sqlite", "mysql"), sized, lambda: sized(CheckConstraint("a > 0"))),
    "index WHERE": (
        ("sqlite",),
        lambda: sized(Index("ix", "a", sqlite_where=text("a > 0"))),
        lambda: sized(Index("ix", "a", sqlite_where=text("a > 1"))),
    ),
    "index on an expression": (
        ("sqlite",),
        lambda: sized(Index("ix", text("lower(b)"))),
        lambda: sized(Index("ix", text("upper(b)"))),
    ),
    "server default": (
        ("sqlite", "mysql"),
        lambda: base(Column("x", Integer, server_default="1")),
        lambda: base(Column("x", Integer, server_default="2")),
    ),
    "index prefix": (
        ("mysql",),
        lambda: sized(Index("ix", "b")),
        lambda: sized(Index("ix", "b", mysql_length=10)),
    ),
    "size of a number": (
        ("sqlite",),
        lambda: base(Column("x", Numeric)),
        lambda: base(Column("x", Numeric(10, 2), server_default="1")),
    ),
    "length of a text": (
        ("sqlite",),
        lambda: base(Column("x", String)),
        lambda: base(Column("x", String(9))),
    ),
    "virtual expression": (
        ("sqlite",),
        lambda: base(Column("a", Integer), Column("x", Integer, Computed("a * 2", False))),
        lambda: base(Column("a", Integer), Column("x", Integer, Computed("a * 3", False))),
    ),
    "no longer virtual": (
        ("sqlite",),
        lambda: base(Column("a", Integer), Column("x", Integer, Computed("a * 2", False))),
        lambda: base(Column("a", Integer), Column("x", Integer)),
    ),
    "computed expression": (
        ("mysql",),
        lambda: base(Column("a", Integer), Column("x", Integer, Computed("a * 2", True))),
        lambda: base(Column("a", Integer), Column("x", Integer, Computed("a * 3", True))),
    ),
    "primary key": (("mysql",), lambda: keyed("a"), lambda: keyed("a", "b")),
    "table's collation": (
        ("mysql",),
        sized,
        lambda: base(
            Column("a", Integer),
            Column("b", String(50)),
            mysql_charset="latin1",
            mysql_collate="latin1_bin",
        ),
    ),
}


@pytest.mark.parametrize(
    ("server", "change"),
    [(dialect, change) for change, (dialects, *_) in ELSEWHERE.items() for dialect in dialects],
)
async def test_the_lines_on_other_databases(schemas: Schemas, server: str, change: str) -> None:
    _, before, after = ELSEWHERE[change]
    proof = await prove(schemas, server, before(), after())
    assert proof.missed
    assert all(one.upgrade_lines for one in proof.missed), proof.missed


async def test_a_constraint_that_was_never_validated(schemas: Schemas) -> None:
    wanted = await schemas.catalog(await schemas.made("postgresql", two_tables(True)))
    url = await schemas.made("postgresql", two_tables())
    add = "ALTER TABLE t ADD CONSTRAINT fk_a FOREIGN KEY (a) REFERENCES parent (id) NOT VALID"
    await schemas.run(url, add)
    (one,) = find_missed(await schemas.catalog(url), wanted)
    assert one.upgrade_lines == ('op.execute("ALTER TABLE public.t VALIDATE CONSTRAINT fk_a")',)
    assert "postgresql_not_valid=True" in "".join(one.downgrade_lines)


async def test_rows_get_numbers_behind_the_highest(schemas: Schemas) -> None:
    before, after = (change() for change in MORE_CHANGES["serial to identity"])
    url = await schemas.made("postgresql", before)
    await schemas.run(url, "INSERT INTO t (id) VALUES (41)")
    wanted = await schemas.catalog(await schemas.made("postgresql", after))
    draft = await schemas.autogenerate(url, after, "postgresql")
    source = add_lines(draft, find_missed(await schemas.catalog(url), wanted))
    for direction in ("upgrade", "downgrade"):
        await schemas.migrate(url, source, direction)
        await schemas.run(url, "INSERT INTO t DEFAULT VALUES")
    ids = await schemas.on(url, lambda c: c.exec_driver_sql("SELECT id FROM t").scalars().all())
    assert sorted(ids) == [41, 42, 43]


async def test_what_only_the_migrations_know_is_no_business_of_ours(schemas: Schemas) -> None:
    """Or somebody's view or leftover default would be proposed to go."""
    metadata = colors("red", "blue")
    Table("plain", metadata, Column("id", Integer, primary_key=True), Column("a", Integer))
    url = await schemas.made("postgresql", metadata)
    wanted = await schemas.catalog(url)
    await schemas.run(
        url,
        "CREATE VIEW v AS SELECT id FROM plain",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER tr BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE INDEX ON plain ((a + 1))",
        "CREATE TABLE audit (id bigint)",
        "CREATE SEQUENCE extra",
        "CREATE EXTENSION pg_trgm",
        "ALTER TABLE plain ADD CHECK (a > 0)",
        "ALTER TABLE plain ALTER a SET DEFAULT 3, ALTER a SET STATISTICS 500",
        "ALTER TABLE plain SET (autovacuum_enabled = false)",
        "ALTER TABLE plain ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON plain USING (a > 0)",
        "COMMENT ON TABLE plain IS 'kept'",
        "COMMENT ON COLUMN plain.a IS 'kept'",
        "ALTER TABLE plain RENAME CONSTRAINT plain_pkey TO pk_of_old",
        "ALTER TABLE plain ALTER id DROP DEFAULT",
        "ALTER TABLE plain ALTER id ADD GENERATED ALWAYS AS IDENTITY",
        "ALTER INDEX ix_c RENAME TO old_name",
        "ALTER TABLE t RENAME CONSTRAINT ck_c TO old_check",
        "ALTER SEQUENCE t_id_seq RENAME TO old_seq",
    )
    migrated = await schemas.catalog(url)
    assert len(differences(wanted, migrated)) > 15
    assert find_missed(migrated, wanted) == []


async def test_a_partial_index_is_no_unique_constraint(schemas: Schemas) -> None:
    metadata = plain(UniqueConstraint("a", name="uq_a"))
    wanted = await schemas.catalog(await schemas.made("postgresql", metadata))
    url = await schemas.made("postgresql", plain())
    await schemas.run(url, "CREATE UNIQUE INDEX partly ON t (a) WHERE b IS NOT NULL")
    (missed,) = find_missed(await schemas.catalog(url), wanted)
    assert "uq_a" in missed.words
    await schemas.run(url, "CREATE UNIQUE INDEX wholly ON t (a)")
    assert find_missed(await schemas.catalog(url), wanted) == []


async def test_what_env_py_keeps_from_alembic_is_left_alone(schemas: Schemas) -> None:
    old = await schemas.catalog(await schemas.made("postgresql", plain()))
    new = await schemas.catalog(
        await schemas.made(
            "postgresql", plain(CheckConstraint("a > 0", name="ck"), Index("i", "b"))
        )
    )
    assert len(find_missed(old, new)) == 2
    assert len(find_missed(old, new, ignored=[["index", None, "t", "i"]])) == 1
    assert len(find_missed(old, new, ignored=[["column", None, "t", "a"]])) == 1
    assert find_missed(old, new, ignored=[["table", None, "t", "t"]]) == []
    assert len(find_missed(old, new, ignored=[["table", "other", "t", "t"]])) == 2


async def test_what_the_server_generates_may_stay_where_the_models_leave_it_to_it(
    schemas: Schemas,
) -> None:
    """A mapped column without FetchedValue() would be written, which PostgreSQL refuses (#13)."""
    old = await schemas.catalog(await schemas.made("postgresql", computed("a * 2")))
    new = await schemas.catalog(
        await schemas.made(
            "postgresql", base(Column("a", Integer), Column("x", Integer, index=True))
        )
    )
    (missed,) = find_missed(old, new)
    assert "DROP EXPRESSION" in "".join(missed.upgrade_lines)
    assert find_missed(old, new, ignored=[["generated", None, "t", "x"]]) == []


@pytest.mark.any_sqlalchemy
def test_a_constraint_on_a_column_that_is_still_to_come_is_not_missed() -> None:
    """Whoever adds the column says when its CHECK comes, as --expand-contract does."""
    place = {"schema": None, "table": "t"}
    check = {**place, "name": "ck", "parts": {"columns": ["a", "b"]}}
    found = Difference("check", "t.ck", None, None, check)
    columns = {name: {**place, "name": name} for name in "ab"}
    assert counts(found, {"column": columns}, {})
    assert not counts(found, {"column": {"a": columns["a"]}}, {})


def lines(early: bool, up: str, down: str) -> Missed:
    difference = differences({}, {"enum": {"e": {}}})[0]
    return Missed(difference, "why", (up,), (down,), early)


def test_lines_stand_in_the_order_in_which_they_work() -> None:
    source = "from alembic import op\n\n\ndef upgrade():\n    work()\n\n\ndef downgrade(): pass\n"
    missed = [lines(True, "e1", "e1_"), lines(False, "l1", "l1_"), lines(False, "l2", "l2_")]
    result = add_lines(source, missed)
    up, down = result.split("def downgrade():")
    order = [line.strip() for line in up.splitlines()[4:] if line.strip()]
    why = "# not seen by autogenerate: why"
    assert order == [why, "e1", "work()", why, "l1", why, "l2"]
    assert [line.strip() for line in down.splitlines() if line.strip()] == ["l2_", "l1_", "e1_"]


def test_lines_bring_their_import_and_leave_the_rest_of_the_file() -> None:
    source = (
        '"""Doc."""\nfrom alembic import (\n    op,\n)\nrevision = "x"\n\ndef upgrade(\n'
        '    name: str = "",\n) -> None:\n\t"""Up."""\n\t# a comment\n\tpass\n\t# end\n\nX = 1\n\n'
        "async def other():\n    pass\n\ndef downgrade() -> None:\n\tpass  # nothing\n"
    )
    result = add_lines(source, [lines(False, "op.f(sa.text('x'))", "op.g()")])
    compile(result, "revision.py", "exec")
    assert "\n)\nimport sqlalchemy as sa\nrevision" in result
    assert "\top.f(sa.text('x'))\n\nX = 1\n" in result
    assert "\t# a comment\n\t# end\n" in result
    assert result.endswith("def downgrade() -> None:\n\top.g()\n")
    assert add_lines(source, []) == source
    with pytest.raises(ValueError, match=r"no downgrade\(\)"):
        add_lines("def upgrade():\n    pass\n", [lines(False, "x", "y")])


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("there", "wanted", "differs"),
    [
        ("7", "'7'::bigint", False),
        ("'7'::smallint", "'7'::double precision", False),
        ("1.50", "'1.5'::real", False),
        ("'2020-01-01'::date", "'2020-01-01 00:00:00'::timestamp without time zone", False),
        ("""'{"a":1}'::json""", """'{"a": 1}'::jsonb""", False),
        ("'it''s'::character varying", "'it''s'::text", False),
        ("'a'::shop.old", "'a'::text", False),
        ("7", "'7'::character varying", False),
        ("'{1,2}'::integer[]", "'{1,2}'::bigint[]", False),
        ("CURRENT_TIMESTAMP", "now()", False),
        ("7", "'8'::bigint", True),
        ("'1.50'::text", "'1.5'::text", True),
        ("7", "(3 + 4)", True),
        ("now()", "'now'::text", True),
    ],
)
def test_a_default_in_the_words_of_the_type_before(there: str, wanted: str, differs: bool) -> None:
    """They are what PostgreSQL 15 has after ALTER TYPE, and for a new column (#13)."""
    one = Difference("column", "public.t.c", "default", there, wanted)
    assert default_is_wanted(one, {"column": {"public.t.c": {}}}) is differs


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("((a > 0))", "a > 0"),
        ("(((a > 0)))", "(a > 0)"),
        ("(a) + (b)", "(a) + (b)"),
        ("(a = ')')", "a = ')'"),
        ("(a = '(') OR (b)", "(a = '(') OR (b)"),
        ('("a)" = 1)', '"a)" = 1'),
        ("(a = 'it''s)')", "a = 'it''s)'"),
        ("(a", "(a"),
        ("a", "a"),
    ],
)
def test_brackets_around_the_whole_are_taken_off(text: str, bare: str) -> None:
    assert without_brackets(text) == bare
