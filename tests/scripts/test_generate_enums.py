"""Enum types of PostgreSQL and server defaults: generate-migration.sh sees what Alembic does not.

The project's env.py is not ours: nothing of this depends on it (#13).
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest
from sqlalchemy import JSON, Integer, Numeric, String
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url

from projects import warm
from projects.shop import Shop
from toolkit.database.defaults_worker import differs
from toolkit.database.enum_worker import PostgresqlOp, change_values, create, drop
from toolkit.report.exits import Exit

HEAD = """
import enum
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from app.db import Base

class Color(enum.Enum):
    red = "red"
    green = "green"

"""


def table(name: str, *columns: str) -> str:
    lines = [
        f"class {name.title()}(Base):",
        f"    __tablename__ = {name!r}",
        "    id: Mapped[int] = mapped_column(primary_key=True)",
        *(f"    {column}" for column in columns),
    ]
    return "\n".join(lines) + "\n\n"


class Enums:
    """A project whose models change, and a database that follows."""

    def __init__(self, shop: Shop, url: str) -> None:
        self.shop = shop
        self.url = url

    def models(self, source: str) -> None:
        self.shop.write("app/models.py", HEAD + source)

    def begin(self, values: str, default: str) -> None:
        """Models with a column of an enum, and a database that has it."""
        self.models(table("note", STATES.format(values=values, default=default)))
        state = f"sa.Column('state', sa.Enum({values}, name='state'),"
        state += f" server_default='{default}')"
        body = f"op.create_table('note', sa.Column('id', sa.Integer(), primary_key=True), {state})"
        down = "op.drop_table('note'); op.execute('DROP TYPE state')"
        self.shop.add_revision("first", None, body, down)
        self.alembic("upgrade", "head")

    def generate(self, *arguments: str, code: Exit = Exit.OK) -> str:
        """What the door says; the text of the revision, if it wrote one."""
        before = set(self.shop.versions())
        ended = self.shop.generate(*arguments, url=self.url)
        assert ended.code == code, ended.out + ended.err
        assert not ended.sees_a_difference, ended.out
        written = "".join(path.read_text() for path in set(self.shop.versions()) - before)
        return written or ended.out + ended.err

    def alembic(self, *arguments: str) -> str:
        environment = self.shop.environment(self.url)
        ended = warm.completed(
            "-m", "alembic", *arguments, cwd=self.shop.root, environment=environment
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    async def ask(self, *statements: str) -> list[tuple[object, ...]]:
        url = make_url(self.url).set(drivername="postgresql")
        connection = await asyncpg.connect(url.render_as_string(hide_password=False))
        try:
            for statement in statements:
                rows = await connection.fetch(statement)
        finally:
            await connection.close()
        return [tuple(row) for row in rows]

    async def types(self) -> dict[str, list[str]]:
        rows = await self.ask(
            "SELECT typname, array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum"
            " JOIN pg_type t ON t.oid = enumtypid GROUP BY typname"
        )
        return {str(name): list(labels) for name, labels in rows}  # type: ignore[call-overload]


@pytest.fixture
def enums(tmp_path: Path, make_database: Callable[..., str]) -> Enums:
    return Enums(Shop(tmp_path / "shop"), make_database("postgresql"))


ODD = "size = mapped_column(sa.Enum('it\\'s', 'a:b', '50%', name='Odd Size'))"
TAGS = "tags = mapped_column(sa.ARRAY(sa.Enum('x', name='tag')))"
COLOR = "color: Mapped[Color]"


async def test_seed_39_enum_types_come_and_go(enums: Enums) -> None:
    enums.models(table("note", COLOR) + table("twin", COLOR))
    written = enums.generate("two tables with one type")
    assert written.count("CREATE TYPE color AS ENUM ('red', 'green')") == 1

    # A new table uses the type; an old one gets columns of new ones, odd names and all.
    enums.models(table("note", COLOR, ODD, TAGS) + table("twin", COLOR) + table("third", COLOR))
    assert "CREATE TYPE color" not in enums.generate("columns")
    enums.alembic("upgrade", "head")
    assert (await enums.types())["Odd Size"] == ["it's", "a:b", "50%"]

    # The last column of a type goes: so does the type, and it comes back.
    enums.models(table("note"))
    enums.generate("no colours")
    enums.alembic("upgrade", "head")
    assert await enums.types() == {}
    enums.alembic("downgrade", "-1")
    assert {*await enums.types()} == {"Odd Size", "color", "tag"}
    enums.alembic("downgrade", "base")
    assert await enums.types() == {}


STATES = "state = mapped_column(sa.Enum({values}, name='state'), server_default='{default}')"


@pytest.mark.any_sqlalchemy
async def test_a_new_value_that_is_the_default_is_one_revision(enums: Enums) -> None:
    enums.begin("'open', 'done'", "open")
    unnamed = "number: Mapped[int | None] = mapped_column(unique=True)"  # which gets a name (#13)
    states = STATES.format(values="'new', 'open', 'done'", default="new")
    enums.models(table("note", states, unnamed))
    written = enums.generate("new")
    assert "ADD VALUE IF NOT EXISTS 'new' BEFORE 'open'" in written
    enums.alembic("upgrade", "head")
    found = await enums.ask("INSERT INTO note DEFAULT VALUES", "SELECT state FROM note")
    assert found == [("new",)]
    assert await enums.types() == {"state": ["new", "open", "done"]}


@pytest.mark.any_sqlalchemy
async def test_an_enum_becomes_a_text_and_a_text_an_enum(enums: Enums) -> None:
    """Their defaults step aside: one names the type that goes, the other one that came (#13)."""
    kind = "sa.Enum('open', 'shut', name='kind')"
    columns = f"sa.Column('a', {kind}, server_default='open'), sa.Column('c', sa.ARRAY({kind})),"
    columns += " sa.Column('b', sa.String(5), server_default='open')"
    body = f"op.create_table('note', sa.Column('id', sa.Integer(), primary_key=True), {columns})"
    down = "op.drop_table('note'); op.execute('DROP TYPE kind')"
    enums.shop.add_revision("first", None, body, down)
    enums.alembic("upgrade", "head")
    await enums.ask("INSERT INTO note (c) VALUES ('{open}')")
    other = "b = mapped_column(sa.Enum('open', 'done', name='state'), server_default='open')"
    text = "a = mapped_column(sa.String(5), server_default='open')"
    enums.models(table("note", text, "c = mapped_column(sa.ARRAY(sa.Text))", other))
    asked = (
        "--using",
        "note.b={}::state",
        "--back",
        "note.a={}::kind",
        "--back",
        "note.c={}::kind[]",
    )
    assert "DROP TYPE kind" in enums.generate("other types", *asked)
    enums.alembic("upgrade", "head")
    found = await enums.ask("INSERT INTO note DEFAULT VALUES", "SELECT a, b, c FROM note")
    assert found == [("open", "open", ["open"]), ("open", "open", None)]
    enums.alembic("downgrade", "-1")
    assert await enums.types() == {"kind": ["open", "shut"]}
    found = await enums.ask("INSERT INTO note DEFAULT VALUES", "SELECT a, b FROM note")
    assert found == [("open", "open")] * 3


@pytest.mark.any_sqlalchemy
async def test_a_value_that_the_models_lost_is_told_and_taken_out_if_asked(enums: Enums) -> None:
    enums.begin("'open', 'done', 'gone'", "open")
    enums.models(table("note", STATES.format(values="'open', 'done'", default="open")))
    said = " ".join(enums.generate("--check", code=Exit.DRIFT).split())
    assert "enum state: the models no longer have 'gone'; reading a row that has it" in said
    written = enums.generate("removed", "--apply")
    assert "ALTER TYPE public.state RENAME TO state_old" in written
    await enums.ask("INSERT INTO note (state) VALUES ('gone')")
    with pytest.raises(AssertionError, match="invalid input value for enum"):
        enums.alembic("upgrade", "head")
    await enums.ask("UPDATE note SET state = 'done'")
    enums.alembic("upgrade", "head")
    assert await enums.types() == {"state": ["open", "done"]}
    assert await enums.ask("SELECT state FROM note") == [("done",)]
    enums.alembic("downgrade", "-1")
    assert await enums.types() == {"state": ["open", "done", "gone"]}


@pytest.mark.any_sqlalchemy
async def test_a_value_under_a_new_name_is_a_question(enums: Enums) -> None:
    enums.begin("'open', 'gone'", "open")
    await enums.ask("INSERT INTO note (state) VALUES ('gone')")
    enums.models(table("note", STATES.format(values="'open', 'archived'", default="open")))
    assert "--rename state.gone:archived" in enums.generate("archived", code=Exit.RENAME)
    written = enums.generate("archived", "--rename", "state.gone:archived")
    assert "RENAME VALUE 'gone' TO 'archived'" in written
    enums.alembic("upgrade", "head")
    assert await enums.ask("SELECT state FROM note") == [("archived",)]
    enums.alembic("downgrade", "-1")
    assert await enums.types() == {"state": ["open", "gone"]}


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("there", "renames"),
    [
        (["open", "gone"], ["gone", "done"]),
        (["gone"], []),
        (["open", "gone", "lost"], []),
        (["open", "done"], []),
    ],
)
def test_as_many_values_come_as_go_where_one_may_be_renamed(
    there: list[str], renames: list[str]
) -> None:
    state = postgresql.ENUM("open", "done", name="state")
    up, down = (SimpleNamespace(ops=list[PostgresqlOp]()) for _ in range(2))
    _, asked = change_values(up, down, [("t.c", state)], {"state": there}, [])
    assert [part for one in asked for part in (one["column"], one["new"])] == renames
    added = [one.words.rpartition(" ")[2] for one in up.ops]
    assert sorted(added) == sorted({"open", "done"} - {*there})


@pytest.mark.any_sqlalchemy
async def test_a_type_that_somebody_else_may_have_made_and_may_use(enums: Enums) -> None:
    """Which is what create_type=False says: plain Alembic leaves it alone (#13)."""
    kind = postgresql.ENUM("a", name="kind", create_type=False)
    made, gone = str(create(kind, {}).sqltext), str(drop(kind).sqltext)
    await enums.ask(made, made, "CREATE TABLE theirs (c kind)", gone)
    assert await enums.types() == {"kind": ["a"]}
    await enums.ask("DROP TABLE theirs", gone)
    assert await enums.types() == {}


async def test_defaults_that_cannot_be_compared_by_the_server(enums: Enums) -> None:
    """Each of them was an error or a revision without end, as `compare_server_default` is."""
    enums.models(
        "class Point(sa.types.UserDefinedType):\n"
        "    cache_ok = True\n"
        "    def get_col_spec(self, **_):\n"
        "        return 'point'\n\n"
        + table(
            "note",
            'quote = mapped_column(sa.String(20), server_default="it\'s new")',
            "place = mapped_column(Point, server_default=sa.text('point(0,0)'))",
            "code = mapped_column(sa.Text, server_default=sa.text('substr(random()::text, 1, 8)'))",
            "doc = mapped_column(sa.JSON, server_default='{}')",
            "n = mapped_column(sa.Integer, server_default='1')",
        )
    )
    # The application's type needs its import, which this project's env.py does not write.
    enums.shop.edit(
        "alembic/script.py.mako", "import sqlalchemy as sa", "import sqlalchemy as sa\nimport app"
    )
    enums.generate("notes")
    enums.shop.edit("app/models.py", "it's new", "it's old")
    enums.shop.edit("app/models.py", "'{}'", "'[]'")
    written = enums.generate("changed")
    assert "it's old" in written and "[]" in written
    assert "'place'" not in written and "'code'" not in written and "'n'" not in written


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("present", "wanted", "kind"),
    [
        ("'it''s new'::character varying", "'it''s new'", String()),
        ("'{}'::json", "'{}'", JSON()),
        ("'{\"a\": 1}'::jsonb", "'{\"a\":1}'", postgresql.JSONB()),
        ("0.00", "0", Numeric()),
        ("'-1'::integer", "-1", Integer()),
        ("true", "1", Integer()),
        ("now()", "CURRENT_TIMESTAMP", postgresql.TIMESTAMP()),
        ("'1 day'::interval", "interval '1 day'", postgresql.INTERVAL()),
        ("timezone('utc'::text, now())", "timezone('utc', now())", postgresql.TIMESTAMP()),
        ("(now() AT TIME ZONE 'utc'::text)", "now() at time zone 'utc'", postgresql.TIMESTAMP()),
        ("substr(md5((random())::text), 1, 8)", "substr(md5(random()::text), 1, 8)", String()),
        ("nextval('public.numbers'::regclass)", "nextval('numbers')", Integer()),
        ("'open'::public.\"Job State\"", "'open'", postgresql.ENUM(name="s")),
        ("'2020-01-01 00:00:00'::timestamp without time zone", "'2020-01-01'", postgresql.DATE()),
        ("'{}'::text[]", "'{}'", postgresql.ARRAY(String())),
        ("point((0)::double precision, (0)::double precision)", "point(0,0)", postgresql.OID()),
    ],
)  # fmt: skip
def test_what_postgresql_writes_otherwise_is_no_change(
    present: str, wanted: str, kind: object
) -> None:
    assert not differs(present, wanted, kind, rewritten=True)


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("present", "wanted", "kind"),
    [
        ("'New'::character varying", "'new'", String()),
        ("'a b'::character varying", "'a'", String()),
        ("'{}'::json", "'[]'", JSON()),
        ("1", "10", Integer()),
        ("1", "1.5", Numeric()),
        ("1", "-1", Integer()),
        ("true", "false", Integer()),
        ("now()", "clock_timestamp()", postgresql.TIMESTAMP()),
        ("'1 day'::interval", "'2 days'", postgresql.INTERVAL()),
        ("random()", "gen_random_uuid()", String()),
    ],
)
def test_a_change_is_one(present: str, wanted: str, kind: object) -> None:
    assert differs(present, wanted, kind, rewritten=True)


@pytest.mark.any_sqlalchemy
def test_mysql_and_sqlite_keep_the_words() -> None:
    on_update = "CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"
    assert differs("current_timestamp()", on_update, Integer(), rewritten=False)
    assert not differs(
        "current_timestamp() ON UPDATE current_timestamp()", on_update, Integer(), rewritten=False
    )
