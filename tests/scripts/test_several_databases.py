"""A project on more than one database: one revision is right on each (#13).

The oracles are `alembic upgrade head` and `alembic check` of the project itself, on real servers.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from projects import setup_door
from projects.shop import Shop
from toolkit.database import dialects_worker
from toolkit.database.alembic_process import AlembicResult
from toolkit.database.alembic_worker import indexed
from toolkit.database.defaults_worker import differs, kept_alike, stored_alike, whole_default
from toolkit.database.urls import TITLES
from toolkit.migration.generate import fails_there
from toolkit.migration.several import merged, statements
from toolkit.project.databases import kinds, remembered_in, setting, with_setting
from toolkit.report.exits import Exit

HEAD = """\
import enum
import uuid
from datetime import date, datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base_model import (
    BaseModel, SimpleBaseModel, VersionMixin, active_marker, unique_active, utc_now_default
)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


"""
FIRST = (
    HEAD
    + """\
class Item(BaseModel, VersionMixin):
    __tablename__ = "items"
    __table_args__ = (
        sa.UniqueConstraint("name", "active"),
        sa.CheckConstraint("qty >= 0", name="qty"),
        {"comment": "what is sold"},
    )
    name: Mapped[str] = mapped_column(sa.String(50), server_default="none", comment="it's")
    active: Mapped[bool | None] = active_marker()
    on: Mapped[bool] = mapped_column(server_default=sa.true())
    off: Mapped[bool] = mapped_column(server_default=sa.false())
    color: Mapped[Color] = mapped_column(server_default="red")
    shade: Mapped[Color] = mapped_column(sa.Enum(Color, name="shade"), server_default="RED")
    data: Mapped[dict] = mapped_column(sa.JSON().with_variant(JSONB(), "postgresql"))
    price: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2), server_default="0")
    qty: Mapped[int] = mapped_column(server_default=sa.text("1"))
    seen: Mapped[datetime] = mapped_column(server_default=func.now())
    plain: Mapped[datetime] = mapped_column(sa.DateTime(), server_default=func.now())
    at: Mapped[datetime] = mapped_column(server_default=utc_now_default())
    day: Mapped[date | None]
    key: Mapped[uuid.UUID]
    double: Mapped[int] = mapped_column(sa.Computed("qty * 2", persisted=True))
    low: Mapped[str] = mapped_column(
        sa.String(50), sa.Computed(func.lower(sa.column("name")), persisted=True)
    )
    note: Mapped[str] = mapped_column(sa.String(20), server_default="it's")
    f: Mapped[float] = mapped_column(sa.Float, server_default="1.5")
    big: Mapped[int] = mapped_column(sa.BigInteger, server_default=sa.literal(7))


class Part(SimpleBaseModel):
    __tablename__ = "parts"
    flag: Mapped[bool] = mapped_column(
        sa.Boolean(create_constraint=True, name="flag_bool"), server_default=sa.false()
    )
    size: Mapped[int | None]
    gone: Mapped[datetime] = mapped_column(server_default=func.now())
    sure: Mapped[bool] = mapped_column(server_default=sa.true())
    doc: Mapped[dict | None] = mapped_column(sa.JSON().with_variant(JSONB(), "postgresql"))
"""
)
SECOND = (
    FIRST.partition("class Part")[0]
    + """\
class Part(SimpleBaseModel):
    __tablename__ = "parts"
    __table_args__ = (
        sa.Index("ix_parts_label", "label").ddl_if(dialect="postgresql"),
        sa.CheckConstraint("size > 0", name="size"),
        {"comment": "of an item"},
    )
    flag: Mapped[bool] = mapped_column(
        sa.Boolean(create_constraint=True, name="flag_bool"), server_default=sa.true()
    )
    size: Mapped[int] = mapped_column(sa.BigInteger, server_default="1")
    label: Mapped[str] = mapped_column(sa.String(20), server_default="", unique=True)
    added: Mapped[datetime] = mapped_column(server_default=utc_now_default())
    item_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("items.id"))
"""
)
PYPROJECT = """\
[project]
name = "shop"
version = "0.1"
requires-python = ">=3.11"
dependencies = ["fastapi", "sqlalchemy[asyncio]", "alembic", "asyncpg", "aiosqlite", "aiomysql"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__init__.py").touch()
    (tmp_path / "app/main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize(
    ("written_on", "others"),
    [
        ("sqlite", ("postgresql", "mysql")),
        pytest.param("postgresql", ("sqlite",), marks=pytest.mark.any_sqlalchemy),
    ],
)
def test_a_revision_is_right_on_each_database(
    project: Path, written_on: str, others: tuple[str, ...], make_database: Callable[[str], str]
) -> None:
    """Whichever of them it was written on: from the scaffold to a second revision."""
    urls = {kind: make_database(kind) for kind in (*others[::-1], written_on)}
    url = urls[written_on]
    made = setup_door.setup(project, "--scaffold", "app.db", "--no-prove", url=url)
    assert made.code == 0, made.err
    assert "revisions are written for" in made.out
    for number, models in enumerate((FIRST, SECOND)):
        (project / "app/db/models.py").write_text(models)
        said = ("--dialects", ",".join(urls)) if number == 0 else ("--no-rename", "--apply")
        ended = setup_door.generate(project, f"change {number}", *said, url=url)
        assert ended.code == 0, ended.out + ended.err
        assert all(f"{TITLES[kind]} " in ended.out for kind in urls), ended.out
        assert "warning" not in ended.out and "DRIFT" not in ended.out, ended.out
    for kind, address in urls.items():
        for command in (("upgrade", "head"), ("check",)):
            ended = setup_door.alembic(project / "alembic.ini", *command, url=address)
            assert ended.code == 0, f"{kind}: {command}\n{ended.out}{ended.err}"
    text = "".join(path.read_text() for path in (project / "alembic/versions").glob("*.py"))
    assert 'if op.get_context().dialect.name == "postgresql":' in text or url == urls["postgresql"]
    assert ("mysql" in text) == ("mysql" in urls)
    if "mysql" in urls:  # to start its server costs more than all else
        return
    checked = setup_door.generate(project, "--check", url=url)
    assert "drift" not in checked.out and "note:" not in checked.out, checked.out + checked.err
    assert "comparing the models on" in checked.err


@pytest.mark.any_sqlalchemy
def test_what_is_said_is_refused_and_what_is_guessed_is_told(
    project: Path, make_database: Callable[[str], str]
) -> None:
    """SQLite's driver may be there for tests that make their tables without a revision."""
    make_database("postgresql")  # else each run starts a server of its own
    shop = Shop(project / "shop")
    shop.edit("pyproject.toml", '"alembic"', '"alembic", "aiosqlite", "asyncpg"')
    shop.write("app/models.py", SQLITE_ONLY)
    shop.edit("app/db.py", "import os", "import os\n\nDIALECTS = ()")
    told = shop.generate("first")
    assert told.code == 0, told.err
    assert "warning: not tried on PostgreSQL" in told.out.replace("\n  ", " ")
    assert "Proved on SQLite in a temporary file: " in told.out
    said = shop.generate("--check", "--dialects", "sqlite,postgresql")
    assert said.code == Exit.PROOF_FAILED
    assert "PostgreSQL cannot have the tables of these models" in said.err
    assert "DIALECTS" in said.err
    # The other way round the guess is tried, and does not count.
    shop.write("app/models.py", SQLITE_ONLY.replace("NOCASE", "BINARY"))
    wrong = shop.generate("--check", "--dialects", "oracle")
    assert wrong.code == Exit.USAGE
    assert "oracle is no database" in wrong.err
    for path in shop.versions():
        path.unlink()
    # A hand-written env.py has no setting: the line to write is said.
    shop.write("app/models.py", SQLITE_ONLY.replace('sa.String(20, "NOCASE")', "sa.String(20)"))
    both = shop.generate("first", "--dialects", "sqlite,postgresql")
    assert both.code == 0, both.err
    assert 'DIALECTS: tuple[str, ...] = ("postgresql", "sqlite")' in both.err


SQLITE_ONLY = """
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from app.db import Base


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(20, "NOCASE"))
"""


@pytest.mark.any_sqlalchemy
def test_what_is_remembered_and_what_is_only_guessed(tmp_path: Path) -> None:
    """In the settings block of env.py, of which the rest stays as it is."""
    template = (Path(__file__).parents[2] / "templates/env.py").read_text()
    assert remembered_in(template) == ()
    guessed = with_setting(template, setting(["sqlite", "postgresql"], "pyproject.toml"))
    assert guessed is not None
    assert "# Guessed from the drivers in pyproject.toml" in guessed
    assert remembered_in(guessed) == ()
    said = with_setting(guessed, setting(kinds("postgres, mariadb,sqlite")))
    assert said is not None
    assert "Guessed" not in said
    assert remembered_in(said) == ("postgresql", "sqlite", "mysql")
    assert with_setting(said, setting(["sqlite"])) == template.replace(
        '("sqlite", "postgresql", "mysql", "mariadb")', '("sqlite",)'
    )
    assert with_setting("x = 1\n", setting(["sqlite"])) is None


@pytest.mark.any_sqlalchemy
def test_a_reflected_column_is_written_for_all_databases() -> None:
    """As the way back needs it: the names of types and the words of defaults are one database's."""
    for own, kind, written in (
        ("sqlite", sa.DATETIME(), "DateTime()"),
        ("mysql", mysql.TINYINT(display_width=1), "Boolean()"),
        ("postgresql", postgresql.TIMESTAMP(timezone=True), "DateTime(timezone=True)"),
    ):
        assert repr(dialects_worker.general(kind, own)) == written
    back = dialects_worker.general(postgresql.JSONB(), "postgresql")
    assert repr(back) == "JSON()"
    assert isinstance(back.dialect_impl(postgresql.dialect()), postgresql.JSONB)
    own = sa.String(3)
    assert dialects_worker.general(own, "sqlite") is own
    for text, kind, expected in (
        ("'it''s'::character varying", sa.String(), "it's"),
        ("7", sa.Integer(), "7"),
        ("1", sa.Boolean(), "true"),
        ("false", sa.Boolean(), "false"),
        ("CURRENT_TIMESTAMP", sa.DateTime(), "now()"),
    ):
        found = dialects_worker.anywhere(sa.DefaultClause(sa.text(text)), kind, "postgresql")
        assert str(found.arg) == expected
    only = dialects_worker.anywhere(
        sa.DefaultClause(sa.text("(strftime('%f', 'now'))")), sa.DateTime(), "sqlite"
    )
    text = only.arg.written("sa.", ["sqlite", "postgresql"])
    assert eval(text, {"sa": sa, "op": FakeContext("postgresql")}).text == "(CURRENT_TIMESTAMP)"
    assert "strftime" in eval(text, {"sa": sa, "op": FakeContext("sqlite")}).text
    unknown = dialects_worker.anywhere(sa.DefaultClause(sa.text("f(1)")), sa.Integer(), "sqlite")
    text = unknown.arg.written("sa.", ["sqlite", "postgresql"])
    assert eval(text, {"sa": sa, "op": FakeContext("postgresql")}) is None


class FakeContext:
    """`op` as a revision has it, as far as a rendered choice asks."""

    def __init__(self, name: str) -> None:
        self.dialect = sa.make_url(f"{name}://").get_dialect()()

    def get_context(self) -> "FakeContext":
        return self


REST = '''
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql


def upgrade():
    """Apply."""
    # ### commands ###
    op.create_index("a", "t", ["x"])

    op.create_index("b", "t", ["x"])


def downgrade():
    """Undo."""
    pass
'''


@pytest.mark.any_sqlalchemy
def test_what_one_database_lacks_goes_behind_an_if() -> None:
    draft = REST.replace('op.create_index("a", "t", ["x"])', "op.f()").replace(
        "from sqlalchemy.dialects import mysql\n", ""
    )
    text = merged(draft, REST, "mysql")
    assert "from sqlalchemy.dialects import mysql\n" in text
    assert (
        '    if op.get_context().dialect.name in ("mysql", "mariadb"):\n'
        '        op.create_index("a", "t", ["x"])\n\n'
        '        op.create_index("b", "t", ["x"])\n'
    ) in text
    assert statements(text, "downgrade") == []


@pytest.mark.any_sqlalchemy
def test_the_second_upgrade_is_told_from_the_first() -> None:
    bench: Any = SimpleNamespace(scratch=SimpleNamespace(kind="sqlite"))
    result = AlembicResult(1, "", "", message="it is there")
    for step, words in (("upgrade", "upgrade"), ("second upgrade", "second upgrade, after the")):
        said = fails_there(bench, "MySQL", step, result).problem
        assert f"new migration's {words}" in said.message
        assert "fails on MySQL: it is there" in said.message
        assert "right on SQLite" in said.remedy


@pytest.mark.any_sqlalchemy
def test_a_default_with_an_apostrophe_and_a_moment_are_no_change() -> None:
    assert not differs("current_timestamp(6)", "now()", sa.DateTime(), rewritten=False)
    assert differs("current_timestamp(6)", "utc_timestamp(6)", sa.DateTime(), rewritten=False)


@pytest.mark.any_sqlalchemy
def test_an_expression_is_named_as_it_is() -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("email", sa.String))
    for one, words in (
        (table.c.email, "email"),
        ("email", "email"),
        (sa.func.lower(table.c.email), "lower(email)"),
        (table.c.email.desc(), "email DESC"),
        (sa.func.coalesce(table.c.email, "it"), "coalesce(email, 'it')"),
        (sa.text("lower(email)"), "lower(email)"),
    ):
        assert indexed(one) == words


class Words(sa.types.UserDefinedType[str]):
    def __init__(self, words: str) -> None:
        self.words = words

    def get_col_spec(self, **_: object) -> str:
        return self.words


@pytest.mark.parametrize(
    ("database", "same", "other"),
    [
        ("sqlite", sa.BINARY(16), sa.BINARY(18)),
        ("sqlite", Words("MONEY"), sa.Integer()),
        ("mysql", sa.Float(53), sa.Float(24)),
        ("mysql", sa.LargeBinary(20), sa.LargeBinary()),
        ("mysql", Words("long varchar"), sa.String(3)),
        ("postgresql", Words("int4"), Words("int8")),
        ("postgresql", Words("varchar(20)[]"), Words("varchar(30)[]")),
        ("postgresql", Words("timestamptz(3)"), Words("of nobody")),
    ],
    ids=str,
)
async def test_two_words_for_one_type_are_no_change(
    database: str, same: sa.types.TypeEngine[Any], other: sa.types.TypeEngine[Any],
    make_database: Callable[[str], str],
) -> None:  # fmt: skip
    """The server is asked, and whoever goes on with the connection sees nothing of it (#13)."""
    table = sa.Table("Some one's", sa.MetaData(), sa.Column("a: b", same))
    engine = create_async_engine(make_database(database))
    async with engine.begin() as connection:
        await connection.run_sync(table.create)
        for kind, alike in ((same, True), (other, False)):
            wanted = sa.Column("c", kind)
            for _ in range(2):  # nothing is left behind
                found = await connection.run_sync(stored_alike, table.c["a: b"], wanted)
                assert found is alike
        names = await connection.run_sync(lambda own: sa.inspect(own).get_table_names())
        assert names == [table.name]
    await engine.dispose()


async def test_two_words_for_one_default_are_no_change(make_database: Callable[[str], str]) -> None:
    """PostgreSQL is asked, as for types; what it refuses is another one (#13)."""
    defaults = {
        sa.Boolean(): ("'f'", "'t'"),
        sa.Float(53): ("'1e3'", "'1e4'"),
        sa.Interval(): ("'24 hours'", "'1 day'"),
        sa.LargeBinary(): (r"'\xDEAD'", r"'\xBEEF'"),
        sa.DateTime(): ("(now() + interval '2 day')", "(now() + interval '1 day')"),
        sa.Integer(): ("'-1'", "'none'"),
    }
    table = sa.Table("Some one's", sa.MetaData())
    for number, (kind, (same, _)) in enumerate(defaults.items()):
        table.append_column(sa.Column(f"a: {number}", kind, server_default=sa.text(same)))
    engine = create_async_engine(make_database("postgresql"))
    async with engine.begin() as connection:
        await connection.run_sync(table.create)
        for column, (same, other) in zip(table.columns, defaults.values(), strict=True):
            for wanted, alike in ((same, True), (other, False)):
                assert await connection.run_sync(kept_alike, column, wanted) is alike, wanted
        names = await connection.run_sync(lambda own: sa.inspect(own).get_table_names())
        assert names == [table.name]
    await engine.dispose()


async def test_what_sqlalchemy_does_not_read_of_a_default_of_mysql_is_asked_for(
    make_database: Callable[[str], str],
) -> None:
    """It was a change for ever, and the way back lost it (#13)."""
    wanted = {
        "flag": (mysql.BIT(1), "b'0'"),
        "word": (sa.String(9), "(concat('a','it''s'))"),
        "later": (sa.DateTime(), "(now() + interval 1 day)"),
        "plain": (sa.String(9), "'(b'"),
        "none": (sa.String(9), None),
    }
    columns = [
        sa.Column(name, kind, server_default=sa.text(default) if default else None)
        for name, (kind, default) in wanted.items()
    ]
    engine = create_async_engine(make_database("mysql"))

    def read(connection: sa.Connection) -> dict[str, str | None]:
        sa.Table("t", sa.MetaData(), *columns).create(connection)
        listeners = [("column_reflect", whole_default)]
        there = sa.Table("t", sa.MetaData(), autoload_with=connection, listeners=listeners)
        found = {one.name: one.server_default for one in there.columns}
        there.drop(connection)
        there.create(connection)  # its defaults are SQL
        return {name: str(one.arg) if one else None for name, one in found.items()}

    async with engine.begin() as connection:
        found = await connection.run_sync(read)
    await engine.dispose()
    assert found.keys() == wanted.keys()
    for name, (kind, default) in wanted.items():
        there = found[name]
        assert (there is None) == (default is None), name
        assert there is None or not differs(there, str(default), kind, rewritten=False), there
