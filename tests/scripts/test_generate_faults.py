"""A new revision that does not run: the script says whose fault it is, and the next step (#13).

The project's env.py is not ours, and each printed option is tried.
"""

import contextlib
import re
import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from projects import warm
from projects.shop import ADDRESS, Ended, Shop
from toolkit.database.alembic_process import AlembicResult
from toolkit.database.catalog import Catalog, read_catalog
from toolkit.migration import generate
from toolkit.migration.alter_calls import default_aside, with_using
from toolkit.migration.curing import CAST, keys_aside
from toolkit.migration.examine import Examination
from toolkit.migration.fault import blame, need_of
from toolkit.migration.refusal import Refusal
from toolkit.migration.sqlite_rebuild import lost, once_more
from toolkit.report.exits import Exit

HEAD = """
import uuid
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column
from app.db import Base

"""
URL = ADDRESS["postgresql"]


@pytest.fixture
def shop(tmp_path: Path, make_database: Callable[..., str]) -> Shop:
    make_database("postgresql")  # the tests' server is for scratch databases, too
    return Shop(tmp_path / "shop")


def models(shop: Shop, *lines: str, name: str = "rows") -> None:
    table = ["class Row(Base):", f"    __tablename__ = {name!r}"]
    table += ["    id: Mapped[int] = mapped_column(primary_key=True)", *(f"    {x}" for x in lines)]
    shop.write("app/models.py", HEAD + "\n".join(table) + "\n")


def written(shop: Shop) -> str:
    return max(shop.versions(), key=lambda path: path.stat().st_mtime_ns).read_text()


def assert_settled(ended: Ended) -> None:
    """It is in the project, and nothing is left."""
    assert ended.code == 0, ended.out + ended.err
    assert not ended.sees_a_difference, ended.out


def upgrade(shop: Shop, url: str, target: str = "head") -> None:
    ended = warm.completed(
        "-m", "alembic", "upgrade", target,
        cwd=shop.root, environment=shop.environment(url), warnings="default",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


GENERATED = (
    "active: Mapped[bool | None] = mapped_column("
    "sa.Computed('nullif(gone IS NULL, 1 = 0)', persisted=True))",
    "gone: Mapped[int | None]",
)
KEY = "sa.Column('id', sa.Integer(), primary_key=True)"
TRIGRAMS = (
    "name: Mapped[str]",
    '__table_args__ = (sa.Index("ix_name", "name", postgresql_using="gin",'
    ' postgresql_ops={"name": "gin_trgm_ops"}), {"schema": "billing"})',
    "number: Mapped[int] = mapped_column(server_default=sa.text(\"nextval('billing.nr')\"))",
)


@pytest.mark.any_sqlalchemy
def test_what_is_needed_before_is_named_and_written(shop: Shop) -> None:
    shop.edit("alembic/env.py", "context.configure(", "context.configure(include_schemas=True, ")
    models(shop, *TRIGRAMS)
    refused = shop.generate("first", url=URL)
    assert refused.code == Exit.PROOF_FAILED
    assert 'op.execute("CREATE SCHEMA IF NOT EXISTS billing")' in refused.err
    assert "change the model" not in refused.err
    assert "--apply" in refused.err
    ended = shop.generate("first", "--apply", url=URL)
    assert ended.code == 0, ended.err
    body = written(shop)
    needed = (
        "SCHEMA IF NOT EXISTS billing",
        "SEQUENCE billing.nr",
        "EXTENSION IF NOT EXISTS pg_trgm",
    )
    places = [body.index(f'op.execute("CREATE {one}")') for one in needed]
    assert [*places, body.index("op.create_table")] == sorted(
        [*places, body.index("op.create_table")]
    )
    # What it wrote is not held against it.
    checked = shop.generate("--check", url=URL)
    assert checked.code == 0, checked.out + checked.err


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("message", "statement"),
    [
        ('type "public.citext" does not exist', "CREATE EXTENSION IF NOT EXISTS citext"),
        ('type "vector" does not exist', "CREATE EXTENSION IF NOT EXISTS vector"),
        ('type "geometry" does not exist', "CREATE EXTENSION IF NOT EXISTS postgis"),
        (
            'operator class "gin_trgm_ops" does not exist for access method "gin"',
            "CREATE EXTENSION IF NOT EXISTS pg_trgm",
        ),
        (
            'data type integer has no default operator class for access method "gist"',
            "CREATE EXTENSION IF NOT EXISTS btree_gist",
        ),
        (
            "function uuid_generate_v4() does not exist",
            'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"',
        ),
        ('access method "hnsw" does not exist', "CREATE EXTENSION IF NOT EXISTS vector"),
        ("relation \"n\" does not exist [SQL: nextval('n')]", "CREATE SEQUENCE n"),
    ],
)
def test_who_brings_what_is_missing(message: str, statement: str) -> None:
    need = need_of(message)
    assert need is not None
    assert need.up == statement


@pytest.mark.any_sqlalchemy
def test_the_model_is_blamed_only_for_what_it_did() -> None:
    model = 'data type json has no default operator class for access method "gin"'
    assert need_of(model) is None
    assert "change the model" in blame(model)
    for other in ('relation "n" does not exist', 'type "mood" does not exist', "deadlock detected"):
        assert need_of(other) is None
        assert "change the model" not in blame(other)
    predicate = (
        "functions in index predicate must be marked IMMUTABLE\n[SQL: ALTER TABLE t ALTER COLUMN a"
    )
    for built in ("cannot alter type of a column used by a generated column", predicate):
        assert "drop that, change the type, make it again" in blame(built)
    assert "change the model" in blame("functions in index expression must be marked IMMUTABLE")


@pytest.mark.any_sqlalchemy
def test_a_cast_is_a_question_with_a_flag(shop: Shop) -> None:
    amount = "sa.Column('amount', sa.String(), nullable=False)"
    key = "sa.Column('key', sa.String(), server_default='x', nullable=False)"
    number = "sa.Column('number', sa.Integer(), server_default='7', nullable=False)"
    mood = "sa.Column('mood', sa.String(9), nullable=False)"
    columns = ", ".join((KEY, amount, key, number, mood))
    shop.add_revision("first", None, f"op.create_table('rows', {columns})")
    larger = 'number: Mapped[int] = mapped_column(sa.BigInteger, server_default="7")'
    enum = 'mood: Mapped[str] = mapped_column(sa.Enum("a", "b", name="mood"))'  # made by it itself
    models(shop, "amount: Mapped[bool]", "key: Mapped[uuid.UUID]", larger, enum)
    given = ["--using", "rows.amount={}::boolean"]
    for _ in range(3):
        ended = shop.generate("types", *given, url=URL)
        if ended.code == 0:
            break
        assert ended.code == Exit.UNANSWERED, ended.err
        assert "--expand-contract" not in ended.err
        (line,) = re.findall(r"^  (--(?:using|back) .*)$", ended.err, re.MULTILINE)
        given += shlex.split(line)
    assert_settled(ended)
    assert "DRIFT" not in ended.out, "7 is the default of a bigint, too"
    assert given[2:4] == ["--using", "rows.key={}::uuid"]
    assert given[4:] == ["--using", "rows.mood={}::text::mood"]
    text = written(shop)
    assert 'postgresql_using="amount::boolean"' in text
    assert text.count("server_default=None") >= 1


NUMBER = "number = sa.Column(sa.Integer, sa.Identity(), nullable=True)"
REBUILT = f"""
import sqlalchemy as sa
from app.db import Base

class Row(Base):
    __tablename__ = "rows"
    id = sa.Column(sa.Integer, primary_key=True)
    email = sa.Column(sa.String(50, collation="NOCASE"))
    loud = sa.Column(sa.String(60), sa.Computed("email || '!'", persisted=True))
    born = sa.Column(sa.Integer)
    hash = sa.Column(sa.BINARY(16))
    {NUMBER}
    size = sa.Column(sa.Integer, nullable=True)
    __table_args__ = (
        sa.CheckConstraint("born > 1900"),
        sa.Index("ix_lower", sa.func.lower(email), unique=True),
        sa.Index("ix_born", born.desc()),
        sa.Index("ix_text", sa.text("born DESC")),
        {{"sqlite_autoincrement": True}},
    )
"""


# As SQLAlchemy writes it: that is how it reads it.
REBUILT_FIRST = """
CREATE TABLE rows (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    email VARCHAR(50) COLLATE "NOCASE",
    loud VARCHAR(60) GENERATED ALWAYS AS (email || '!') STORED,
    born INTEGER,
    hash BINARY(16),
    number INTEGER,
    size INTEGER,
    CHECK (born > 1900)
);
CREATE UNIQUE INDEX ix_lower ON rows (lower(email));
CREATE INDEX ix_born ON rows (born DESC);
CREATE INDEX ix_text ON rows (born DESC);
CREATE TRIGGER calm AFTER INSERT ON rows BEGIN SELECT 1; END
"""


@pytest.mark.any_sqlalchemy
def test_a_table_that_is_made_anew_keeps_all(shop: Shop) -> None:
    """Against the server's own words, before and after."""
    shop.write("app/models.py", REBUILT)
    shop.edit("alembic/env.py", "context.configure(", "context.configure(render_as_batch=True, ")
    url = f"sqlite+aiosqlite:///{shop.root}/own.db"
    made = [f"op.execute({one!r})" for one in REBUILT_FIRST.strip().split(";\n")]
    shop.add_revision("first", None, "\n    ".join(made), "op.drop_table('rows')")
    shop.edit("app/models.py", "sa.Integer, nullable=True", "sa.Integer, nullable=False")
    ended = shop.generate("size", url=url)
    assert_settled(ended)
    assert "missed-by-autogenerate" not in ended.out
    assert "downgrade-leaves-trace" not in ended.out
    assert "delete-rows" not in ended.out  # of the counter that moves along
    upgrade(shop, url, "+1")
    add = "INSERT INTO rows (email, born, size) VALUES (?, 1990, 1) RETURNING id"
    with contextlib.closing(sqlite3.connect(shop.root / "own.db")) as connection:
        given = [connection.execute(add, (who,)).fetchone()[0] for who in "abc"]
        connection.execute("DELETE FROM rows WHERE id > 1")
        connection.commit()
    upgrade(shop, url)
    with contextlib.closing(sqlite3.connect(shop.root / "own.db")) as connection:
        # No key is given twice, which is all that AUTOINCREMENT is for.
        assert connection.execute(add, ("d",)).fetchone()[0] == given[-1] + 1
        assert connection.execute("SELECT count(*) FROM sqlite_sequence").fetchone() == (1,)
        assert connection.execute("SELECT loud FROM rows").fetchall() == [("a!",), ("d!",)]
        connection.rollback()
        found = connection.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name = 'rows'"
        ).fetchall()
    words = " ".join(str(row[0]) for row in found)
    for kept in (
        'COLLATE "NOCASE"',
        "AUTOINCREMENT",
        "lower(email)",
        "born DESC",
        "TRIGGER calm",
        "GENERATED ALWAYS AS",
        "STORED",
        "born > 1900",
        "size INTEGER NOT NULL",
        "hash BINARY(16)",
    ):
        assert kept in words


def sqlite_catalog(*statements: str) -> Catalog:
    with sa.create_engine("sqlite://").connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        return read_catalog(connection)


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("operation", "meant"),
    [
        ({"op": "AddColumn", "table": "rows", "column": "more"}, set[str]()),
        ({"op": "DropIndex", "table": "rows", "name": "ix_born"}, {"rows.ix_born"}),
        (
            {"op": "AlterColumn", "table": "rows", "column": "name", "changes": ["type TEXT"]},
            {"rows.name"},
        ),
        (
            {"op": "AlterColumn", "table": "rows", "column": "name", "changes": ["NOT NULL"]},
            set[str](),
        ),
    ],
)
def test_what_an_operation_takes_away_or_its_column_took_along_is_not_lost(
    operation: dict[str, Any], meant: set[str]
) -> None:
    before = sqlite_catalog(
        "CREATE TABLE rows (id INT, born INT, gone INT, name VARCHAR(9) COLLATE NOCASE)",
        "CREATE INDEX ix_born ON rows (born DESC)",
        "CREATE INDEX ix_gone ON rows (gone)",
        "CREATE TRIGGER calm AFTER INSERT ON rows BEGIN SELECT 1; END",
    )
    after = sqlite_catalog("CREATE TABLE rows (id INT, born INT, name VARCHAR(9))")
    everything = {"rows.name", "rows.ix_born", "rows.calm"}
    assert {one.name for one in lost(before, after, [operation])} == everything - meant


@pytest.mark.any_sqlalchemy
def test_an_index_in_the_place_of_a_keys_own_goes_again_on_mysql(
    shop: Shop, make_database: Callable[[str], str]
) -> None:
    """Plain Alembic's way back is refused: MySQL has given up the index of its own (#13).

    A generated column comes after what it is made from, here too.
    """
    key = "sa.Column('p', sa.Integer(), sa.ForeignKey('rows.id', ondelete='CASCADE'))"
    shop.add_revision("first", None, f"op.create_table('rows', {KEY}, {key})")
    models(
        shop,
        "p = mapped_column(sa.ForeignKey('rows.id', ondelete='CASCADE'), index=True)",
        "n: Mapped[int | None]",
        *GENERATED,
    )
    ended = shop.generate("an index", url=make_database("mysql"))
    assert ended.code == 0, ended.err
    assert "downgrade-leaves-trace" not in ended.out


@pytest.mark.any_sqlalchemy
def test_of_the_keys_only_those_that_lean_on_a_dropped_index_step_aside() -> None:
    def key(name: str, table: str, *columns: str) -> dict[str, Any]:
        parts = {"columns": columns, "referred_table": "u", "referred_columns": columns}
        return {"name": name, "table": table, "schema": None, "auto_named": False, "parts": parts}

    index = {"name": "ix", "table": "t", "parts": {"columns": ("a", "b")}}
    keys = (key("leans", "t", "a"), key("another", "other", "a"), key("behind", "t", "b"))
    there = {"index": {"ix": index}, "foreign_key": {one["name"]: one for one in keys}}
    draft = "def downgrade():\n    op.drop_index('ix', table_name='t')\n"
    text = keys_aside(draft, "downgrade", there)
    drop, *_ = (line for line in text.splitlines() if "drop_constraint" in line)
    assert text.index(drop) < text.index("drop_index") < text.index("create_foreign_key")
    assert "leans" in text
    assert "another" not in text
    assert "behind" not in text


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(("harmed", "runs"), [(False, 2), (True, 1)])
def test_a_cure_is_tried_only_where_nothing_of_the_failed_run_has_stayed(
    harmed: bool, runs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL keeps what was done before the statement that fails: run again, that would fail."""
    place = {"schema": None, "table": "t"}
    parts = {"columns": ("a",), "referred_table": "u", "referred_columns": ("a",)}
    key = {**place, "name": "leans", "auto_named": False, "parts": parts}
    there: Catalog = {
        "index": {"ix": {**place, "name": "ix", "parts": {"columns": ("a",)}}},
        "foreign_key": {"leans": key},
    }
    before: Catalog = {**there, "column": {}} if not harmed else {**there, "foreign_key": {}}
    said = "Cannot drop index 'ix': needed in a foreign key constraint"
    failed = AlembicResult(1, "", "", {"error": {"message": said}}, said)
    seen = Examination(before, before, failure=("upgrade", failed))
    ran: list[str] = []
    monkeypatch.setattr(generate, "look_at_run", lambda _, tried: ran.append(tried.text) or seen)

    def expect(*_: object) -> None:
        raise Refusal("proof", Exit.PROOF_FAILED, said, "")

    scratch = SimpleNamespace(kind="mysql")
    bench: Any = SimpleNamespace(
        scratch=scratch, folder=tmp_path, schema=lambda: there, expect=expect
    )
    text = "def upgrade():\n    op.drop_index('ix', table_name='t')\ndef downgrade():\n    pass\n"
    draft = generate.Draft(text, "r", None, Path("r.py"), ())
    with pytest.raises(Refusal):
        generate.run_and_cure(bench, draft, generate.Wanted("an index"), lambda _: None)
    assert len(ran) == runs


def test_an_array_is_converted_to_an_array() -> None:
    message = 'column "c" cannot be cast automatically to type kind[]\n[SQL: ALTER TABLE t'
    found = CAST.search(message)
    assert found and found["type"] == "kind[]"


CALLS = """
def upgrade():
    op.alter_column('rows', 'key', existing_type=sa.String(), type_=sa.Uuid(), schema='s',
               existing_server_default=sa.text("'x'"))
    op.alter_column('other', 'key', type_=sa.Uuid())
    with op.batch_alter_table('many') as batch_op:
        batch_op.alter_column('key', type_=sa.Uuid())
"""


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize("place", ["s.rows.key", "rows.key", "other.key", "many.key"])
def test_calls_are_edited_where_they_are(place: str) -> None:
    changed = with_using(CALLS, "upgrade", place, "'é{}'::uuid")
    compile(changed, "revision", "exec")
    table = place.split(".")[-2]
    (line,) = [n for n, one in enumerate(changed.splitlines()) if "postgresql_using" in one]
    assert f"'{table}'" in "\n".join(changed.splitlines()[line - 3 : line])
    assert with_using(CALLS, "upgrade", "none.key", "x") == CALLS


@pytest.mark.any_sqlalchemy
def test_a_default_steps_aside() -> None:
    changed = default_aside(CALLS, "upgrade", "s.rows.key").splitlines()
    assert changed[2].strip() == "op.alter_column('rows', 'key', schema='s', server_default=None)"
    again = """op.alter_column('rows', 'key', schema='s', server_default=sa.text("'x'"))"""
    assert changed[5].strip() == again


OWN = """
import sqlalchemy as sa
from app.db import Base

class Upper(sa.types.TypeDecorator):
    impl = sa.String(20)
    cache_ok = True

class Key(sa.types.TypeDecorator):
    class Text36(sa.CHAR):
        pass
    impl = Text36
    cache_ok = True
    def load_dialect_impl(self, dialect):
        native = dialect.name == "postgresql"
        return dialect.type_descriptor(sa.Uuid() if native else sa.CHAR(36))

class Row(Base):
    __tablename__ = "rows"
    id = sa.Column(Key, primary_key=True)
    name = sa.Column(Upper, nullable=False)
    email = sa.Column(sa.String(50, collation="NOCASE"), nullable=False)
    __table_args__ = {"sqlite_autoincrement": False}
"""


@pytest.mark.any_sqlalchemy
def test_types_and_batches_are_right_with_any_env(shop: Shop) -> None:
    """An application's type is its SQL; SQLite copies a table only where it has to (#13)."""
    shop.write("app/models.py", OWN)
    shop.edit("alembic/env.py", "context.configure(", "context.configure(render_as_batch=True, ")
    url = f"sqlite+aiosqlite:///{shop.root}/own.db"
    ended = shop.generate("rows", url=url)
    assert ended.code == 0, ended.err
    text = written(shop)
    assert "app." not in text
    assert "sa.Column('id', sa.CHAR(length=36), nullable=False)" in text
    # What SQLite can do itself: nothing is copied, so nothing can get lost.
    plain = (
        "    note = sa.Column(sa.String(9), server_default=sa.text(\"'x'\"))\n    __table_args__"
    )
    shop.edit("app/models.py", "    __table_args__", plain)
    assert shop.generate("note", url=url).code == 0
    text = written(shop)
    assert "batch_alter_table" not in text
    assert "op.drop_column('rows', 'note')" in text
    # What it cannot: a default that is an expression, and a column that another is made from.
    shop.edit(
        "app/models.py",
        "    note = sa.Column(sa.String(9), server_default=sa.text(\"'x'\"))\n",
        "    at = sa.Column(sa.DateTime, server_default=sa.func.now(), nullable=False)\n",
    )
    ended = shop.generate("at", url=url)
    assert_settled(ended)
    text = written(shop)
    assert "op.drop_column('rows', 'note')" in text
    assert "with op.batch_alter_table('rows'" in text
    upgrade(shop, url)
    with contextlib.closing(sqlite3.connect(shop.root / "own.db")) as connection:
        words = str(connection.execute("SELECT sql FROM sqlite_master").fetchall())
    assert 'COLLATE "NOCASE"' in words


@pytest.mark.any_sqlalchemy
def test_an_env_py_without_batches_is_no_fault_of_the_models(shop: Shop) -> None:
    """As `alembic init` writes it; plain Alembic's revisions do not run either (#13)."""
    url = f"sqlite+aiosqlite:///{shop.root}/own.db"
    column = "sa.Column('c', sa.Integer(), nullable=False)"
    shop.add_revision("first", None, f"op.create_table('rows', {KEY}, {column})")
    larger = "c: Mapped[int] = mapped_column(sa.BigInteger)"
    unique = "__table_args__ = (sa.UniqueConstraint('c', name='uq_rows_c'),)"
    for change in ((larger,), ("c: Mapped[int]", unique)):
        models(shop, *change)
        ended = shop.generate("larger", url=url)
        assert ended.code == Exit.PROOF_FAILED, ended.out + ended.err
        assert "write render_as_batch=True into context.configure(...) in env.py" in ended.err
    models(shop, larger, unique)
    shop.edit("alembic/env.py", "context.configure(", "context.configure(render_as_batch=True, ")
    ended = shop.generate("larger", url=url)
    assert ended.code == 0, ended.out + ended.err


FLAG = (
    'flag = mapped_column(type("Flag", (sa.TypeDecorator,), {"impl": sa.Boolean, "cache_ok": True})'
    "(), server_default=sa.true())"
)


@pytest.mark.any_sqlalchemy
def test_an_identity_comes_and_goes_a_truth_value_becomes_a_number(shop: Shop) -> None:
    """Where Alembic compares defaults its own revisions for these stop: a default that becomes an
    identity with an AssertionError, a unique constraint with INCLUDE, wherever one is added, with a
    KeyError (#13). One history has them all, since each run costs a second (#10).
    """
    columns = [
        "sa.Column('c', sa.Integer(), nullable=False)",
        "sa.Column('d', sa.Integer(), server_default='1', nullable=False)",
        "sa.Column('sure', sa.Boolean(), server_default=sa.true(), nullable=False)",
        "sa.Column('flag', sa.Boolean(), server_default=sa.true())",
        "sa.Column('a', sa.Integer(), nullable=False)",
        "sa.Column('b', sa.Integer(), nullable=False)",
    ]
    shop.add_revision("first", None, f"op.create_table('rows', {KEY}, {', '.join(columns)})")
    number = 'sure: Mapped[int] = mapped_column(server_default="1")'
    rest = (number, FLAG, "a: Mapped[int]", "b: Mapped[int]", *GENERATED)
    plain = 'd: Mapped[int] = mapped_column(server_default="1")'
    models(shop, "c: Mapped[int] = mapped_column(sa.Identity())", plain, *rest)
    given = ["--using", "rows.sure={}::integer", "--back", "rows.sure={}::boolean"]
    ended = shop.generate("other", *given, url=URL)
    assert_settled(ended)
    assert "existing_server_default=sa.Identity(always=False)" in written(shop)

    other = "c: Mapped[int] = mapped_column(sa.Identity(always=True, increment=5, cycle=True))"
    unique = '__table_args__ = (sa.UniqueConstraint("a", name="uq", postgresql_include=["b"]),)'
    models(shop, other, plain, *rest, unique)
    assert_settled(shop.generate("another identity", url=URL))
    assert "ALTER TABLE rows ADD CONSTRAINT uq UNIQUE (a) INCLUDE (b)" in written(shop)

    models(shop, "c: Mapped[int]", "d: Mapped[int] = mapped_column(sa.Identity())", *rest)
    assert_settled(shop.generate("no identity", "--apply", url=URL))
    text = written(shop)
    assert "ALTER TABLE rows ADD CONSTRAINT uq UNIQUE (a) INCLUDE (b)" in text
    up = text.partition("def downgrade")[0]
    added = [one for one in up.splitlines() if "AS IDENTITY" in one]
    assert len(added) == 1
    assert "ALTER COLUMN d ADD GENERATED BY DEFAULT AS IDENTITY" in added[0]
    assert shop.generate("again", url=URL).code == Exit.NO_CHANGES


@pytest.mark.any_sqlalchemy
def test_a_generated_column_steps_aside_on_sqlite_only(shop: Shop) -> None:
    """PostgreSQL copies nothing, and has no place for a column (#13)."""
    model = REBUILT.partition("    __table_args__")[0].replace(', collation="NOCASE"', "")
    for line in ("hash = sa.Column(sa.BINARY(16))", NUMBER):
        model = model.replace(f"    {line}\n", "")
    shop.write("app/models.py", model)
    shop.edit("alembic/env.py", "context.configure(", "context.configure(render_as_batch=True, ")
    url = f"sqlite+aiosqlite:///{shop.root}/own.db"
    both = ("--dialects", "sqlite,postgresql")
    made = "sa.Column('loud', sa.String(60), sa.Computed(\"email || '!'\", persisted=True))"
    columns = [
        "sa.Column('email', sa.String(50))",
        made,
        *(f"sa.Column({name!r}, sa.Integer())" for name in ("born", "size")),
    ]
    first = f"op.create_table('rows', {KEY}, {', '.join(columns)})"
    shop.add_revision("first", None, first, "op.drop_table('rows')")
    shop.edit("app/models.py", "sa.Integer, nullable=True", "sa.Integer, nullable=False")
    ended = shop.generate("size", *both, url=url)
    assert ended.code == 0, ended.err + ended.out
    assert "Proved on SQLite in a temporary file and PostgreSQL" in ended.out
    assert 'batch_op.drop_column("loud")' in written(shop)


DOMAIN = """
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from app.db import Base

Positive = postgresql.DOMAIN(
    "positive", sa.String(9), check="VALUE > '0'", not_null=True, default="a", collation="C"
)

class Row(Base):
    __tablename__ = "rows"
    id = sa.Column(sa.Integer, primary_key=True)
    size = sa.Column(Positive)
"""
MORE = """    width = sa.Column(Positive)

class Other(Base):
    __tablename__ = "others"
    id = sa.Column(sa.Integer, primary_key=True)
    size = sa.Column(Positive)
"""


@pytest.mark.any_sqlalchemy
def test_a_domain_comes_once_and_goes_with_the_last_column(shop: Shop) -> None:
    """Alembic makes one with each table that has it, and leaves it there. SQLAlchemy reads its
    NOT NULL as the column's, no length, and a collation twice (#13).
    """
    shop.write("app/models.py", DOMAIN)
    ended = shop.generate("rows", url=URL)
    assert_settled(ended)
    domain = """positive AS VARCHAR(9) COLLATE "C" DEFAULT 'a' NOT NULL CHECK (VALUE > '0')"""
    assert f"CREATE DOMAIN {domain}" in written(shop).replace("\\'", "'")
    assert "DROP DOMAIN positive" in written(shop).partition("def downgrade")[2]
    shop.write("app/models.py", DOMAIN + MORE)
    ended = shop.generate("more", url=URL)
    assert ended.code == 0, ended.err
    assert "create_type=False" in written(shop)
    assert " DOMAIN positive" not in written(shop)
    # Another condition or collation is told, and stops.
    shop.edit("app/models.py", "VALUE > '0'", "VALUE > '10'")
    shop.edit("app/models.py", 'collation="C"', 'collation="POSIX"')
    ended = shop.generate("ten", url=URL)
    assert ended.code == Exit.DRIFT, ended.err + ended.out
    assert re.search("(?s)domain positive.*VALUE.*POSIX", ended.err)
    plain = DOMAIN.replace("    size = sa.Column(Positive)\n", "")
    shop.write("app/models.py", plain)
    ended = shop.generate("no more", url=URL)
    assert ended.code == 0, ended.err
    gone, back = written(shop).split("def downgrade")
    assert "DROP DOMAIN positive" in gone
    assert "CREATE DOMAIN positive AS character varying(9) COLLATE" in back


COUNTED = """
import sqlalchemy as sa
from app.db import Base

class Row(Base):
    __tablename__ = "rows"
    id = sa.Column(sa.Integer, sa.Sequence("odd one", start=7, minvalue=-1), primary_key=True)
    other = sa.Column(sa.Integer, sa.Sequence("optional", optional=True))
"""


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize("database", ["postgresql", "mysql"])
async def test_a_row_comes_into_a_table_whose_key_has_a_sequence(
    shop: Shop, database: str, make_database: Callable[[str], str]
) -> None:
    """Alembic writes the column without it, so that the first INSERT fails (#13)."""
    url = make_database(database)
    shop.write("app/models.py", COUNTED)
    ended = shop.generate("rows", url=url)
    assert_settled(ended)
    assert "create sequence odd one" in ended.out
    assert "DRIFT" not in ended.out
    upgrade(shop, url)
    key = sa.Column("id", sa.Integer, sa.Sequence("odd one"), primary_key=True)
    rows = sa.Table("rows", sa.MetaData(), key)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        assert (await connection.execute(rows.insert())).inserted_primary_key == (7,)
    await engine.dispose()


@pytest.mark.parametrize("nullable", [True, False])
def test_a_generated_column_is_made_once_more_as_it_was(nullable: bool) -> None:
    made = {"expression": "a || 'b'", "stored": True}
    column = {"name": "loud", "type": "VARCHAR(60)", "generated": made, "nullable": nullable}
    lines = "\n".join(once_more(column, "email"))
    assert lines.index('batch_op.drop_column("loud")') < lines.index("batch_op.add_column(")
    assert "sa.Computed(" in lines and 'insert_after="email"' in lines
    assert ("nullable=False" in lines) is not nullable
    assert "insert_after" not in "\n".join(once_more(column, None))
