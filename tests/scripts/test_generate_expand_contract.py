"""generate-migration.sh --expand-contract: from changed models to a deploy without a pause."""

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic.autogenerate.api import AutogenContext
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CHAR, BigInteger, Enum, Float, Integer, Numeric, String, Text
from sqlalchemy.engine import make_url

from projects import warm
from projects.shop import Ended, Shop
from toolkit.database import scratch
from toolkit.database.change_worker import Taker
from toolkit.database.scratch import execute
from toolkit.migration import expanding
from toolkit.migration.expand_contract import NotPossible
from toolkit.migration.expand_contract.existing import Existing, is_more
from toolkit.migration.expand_contract.planning import Answers, Planner, is_constant
from toolkit.migration.expanding import Step, caster, commands, put_all_in_place
from toolkit.migration.refusal import Refusal
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

FIRST = """
op.create_table(
    'users',
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('email', sa.String(200), nullable=False, unique=True),
    sa.Column('nick', sa.String(20), nullable=False),
    sa.Column('age', sa.Integer),
)
op.create_index('ix_users_nick', 'users', ['nick'])
"""
IMPORTS = """
from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


"""
USER = """
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200), unique=True)
    {}
"""
RENAMED = "nickname: Mapped[str] = mapped_column(String(20), index=True)\n    "
RENAME = ("--rename", "users.nick:nickname")
MUCH = (
    RENAMED
    + """age: Mapped[int]
    bio: Mapped[str | None] = mapped_column(String(500))
    rank: Mapped[int] = mapped_column(default=3)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id"))

    __table_args__ = (CheckConstraint("age >= 0", name="ck_users_age"),)


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
)
ROWS = "SELECT {} FROM users ORDER BY id"


@pytest.fixture(autouse=True)
def no_given_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scratch.SCRATCH_VARIABLE, raising=False)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "my shop")
    made.add_revision("first", None, FIRST.strip().replace("\n", "\n    "))
    return made


def models(shop: Shop, lines: str) -> None:
    shop.write("app/models.py", IMPORTS + USER.format(lines))


class Database:
    """The one in production, with old and new code at work on it."""

    def __init__(self, shop: Shop, url: str) -> None:
        self.shop, self.url = shop, url

    def alembic(self, command: str) -> None:
        """A command as it was printed."""
        ended = subprocess.run(
            [warm.python(), "-m", *shlex.split(command)],
            cwd=self.shop.root,
            env={**self.shop.environment(self.url), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        found = [execute(make_url(self.url), statement) for statement in statements]
        return [tuple(row) for row in found[-1]]

    def user(self, key: int, column: str, name: str, **more: int) -> None:
        names = ", ".join(["id", "email", column, *more])
        values = ", ".join(map(str, more.values()))
        self.sql(
            f"INSERT INTO users ({names}) VALUES ({key}, 'e{key}', '{name}'"
            f"{', ' if values else ''}{values})"
        )


def expand(shop: Shop, url: str, *options: str) -> dict[str, Any]:
    ended = shop.generate("more of users", "--expand-contract", "--json", *options, url=url)
    assert ended.code == 0, ended.out + ended.err
    document: dict[str, Any] = json.loads(ended.out)
    files = {one["file"] for one in document["files"]}
    assert {one["file"] for one in document["findings"]} <= {None, *files}
    return document


def assert_refused(ended: Ended, code: Exit, *words: str) -> None:
    assert ended.code == code, ended.out + ended.err
    for word in words:
        assert word in ended.err
    assert "Traceback" not in ended.err


def worst(document: dict[str, Any]) -> set[tuple[str, str]]:
    """What is worse than a brief lock: rule, and the kind of its revision."""
    return {
        (one["rule"], str(one["revision"]).partition("_")[2].rstrip("0123456789"))
        for one in document["findings"]
        if one["verdict"] not in {"brief-lock", "style"}
    }


def test_old_code_writes_between_the_steps(shop: Shop, make_database: Callable[[str], str]) -> None:
    run = Database(shop, make_database("postgresql"))
    run.alembic("alembic upgrade head")
    run.user(1, "nick", "ada", age=36)
    run.user(2, "nick", "bob")
    models(shop, MUCH)
    before = shop.files()
    asked = shop.generate("more of users", "--expand-contract", *RENAME, url=run.url)
    assert_refused(
        asked, Exit.UNANSWERED, "--fill users.age=SQL", "--fill users.rank=SQL", "get 3 in Python"
    )
    assert shop.files() == before, "one that is refused writes nothing"

    document = expand(shop, run.url, *RENAME, "--fill", "users.age={row}id + 17",
                      "--fill", "users.rank=3")  # fmt: skip
    files = document["files"]
    chain = [one["down_revision"] for one in files], [one["revision"] for one in files]
    assert chain[0] == ["first", *chain[1][:-1]]
    assert {Path(one["file"]) for one in files} == {
        path for path in shop.versions() if path.name != "first.py"
    }
    assert all(Path(one["file"]).name.endswith("_more_of_users.py") for one in files)
    assert worst(document) == {("drop-column", "contract"), ("drop-default", "contract")}
    plain = Path(files[0]["file"]).read_text()
    assert "create_table('teams'" in plain and "'bio'" in plain
    for taken in ("'rank'", "nick", "foreign", "alter_column"):
        assert taken not in plain.lower().partition("upgrade()")[2].replace("'team_id'", "")
    titles = [one["title"] for one in files]
    assert "Check ck_users_age on users" in titles, "autogenerate does not see it"
    late = [one["deploy_first"] is not None for one in files]
    assert late == sorted(late), "all that old code can live with comes first"

    run.alembic(document["deploy"]["first"])
    run.user(3, "nick", "cleo")  # by old code
    run.user(4, "nickname", "dora", age=20)  # by new code
    run.sql("UPDATE users SET nick = 'adah' WHERE id = 1")
    assert run.sql(ROWS.format("nick, nickname, age")) == [
        ("adah", "adah", 36),
        ("bob", "bob", 19),
        ("cleo", "cleo", 20),
        ("dora", "dora", 20),
    ]
    assert {row[0] for row in run.sql(ROWS.format("rank"))} == {3}
    run.alembic(document["deploy"]["last"])
    with pytest.raises(Exception, match="age"):
        run.user(5, "nickname", "eve", rank=1)
    with pytest.raises(Exception, match="ck_users_age"):
        run.user(5, "nickname", "eve", rank=1, age=-1)
    run.alembic("alembic check")
    run.alembic("alembic downgrade first")
    assert run.sql(ROWS.format("nick"))[-1] == ("dora",)
    assert run.sql("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_users_nick'")


def test_mariadb(shop: Shop, make_database: Callable[[str], str]) -> None:
    """MODIFY forgets what it does not name: comments stay."""
    run = Database(shop, make_database("mysql"))
    lines = [
        f"op.execute(\"ALTER TABLE users MODIFY {column} COMMENT 'its {column.split()[0]}'\")"
        for column in ("nick VARCHAR(20) NOT NULL", "age INT")
    ]
    shop.add_revision("second", "first", "\n    ".join(lines))
    run.alembic("alembic upgrade head")
    run.user(1, "nick", "ada")
    nickname = RENAMED.replace("index=True", "index=True, comment='its nick'")
    models(shop, nickname + "age: Mapped[int] = mapped_column(default=18, comment='its age')")
    document = expand(shop, run.url, *RENAME, "--fill", "users.age=18")
    titles = {one["title"] for one in document["files"]}
    assert titles == {"Rename users.nick to nickname", "Make users.age NOT NULL"}, "with its index"
    assert worst(document) == {("drop-column", "contract")}
    run.alembic(document["deploy"]["first"])
    run.user(2, "nick", "bob")
    run.user(3, "nickname", "cleo")
    same = [("ada", "ada", 18), ("bob", "bob", 18), ("cleo", "cleo", 18)]
    assert run.sql(ROWS.format("nick, nickname, age")) == same
    run.alembic(document["deploy"]["last"])
    with pytest.raises(Exception, match="age"):
        run.user(4, "nickname", "dora")
    asked = "SELECT column_name, column_comment FROM information_schema.columns "
    found = run.sql(f"{asked} WHERE table_schema = DATABASE() AND table_name = 'users'")
    assert dict(found) == {"id": "", "email": "", "nickname": "its nick", "age": "its age"}
    assert shop.generate("again", url=run.url).code == Exit.NO_CHANGES


def test_a_step_that_would_block_is_refused(
    shop: Shop, make_database: Callable[[str], str]
) -> None:
    """All values of a computed column are written at once: no recipe takes it apart."""
    nick = "nick: Mapped[str] = mapped_column(String(20), index=True)"
    models(shop, f"{nick}\n    age: Mapped[int | None]\n    twice: Mapped[int | None] = TWICE")
    shop.edit("app/models.py", "TWICE", "mapped_column(Integer, Computed('age * 2'))")
    shop.edit("app/models.py", "import CheckConstraint", "import CheckConstraint, Computed")
    before = shop.files()
    ended = shop.generate("twice", "--expand-contract", url=make_database("postgresql"))
    assert_refused(ended, Exit.NOT_POSSIBLE, "would not be safe", "blocks: ", "twice")
    assert shop.files() == before


def test_what_sqlite_cannot_do_is_one_line(shop: Shop) -> None:
    models(
        shop,
        "nick: Mapped[str] = mapped_column(String(20), index=True)\n    age: Mapped[str | None]",
    )
    before = shop.files()
    ended = shop.generate("text", "--expand-contract")
    assert_refused(ended, Exit.NOT_POSSIBLE, "SQLite: a type is changed by copying users")
    assert shop.files() == before


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--fill", "users.age=1"), "--fill goes with --expand-contract"),
        (("--expand-contract", "--fill", "age=1"), "--fill age=1 is not understood"),
        (("--expand-contract", "--fill", "users.age=1", "--fill", "users.age=2"), "there twice"),
        (("--expand-contract", "--apply"), "--apply writes into one revision"),
    ],
)
def test_options_that_do_not_go(shop: Shop, options: tuple[str, ...], words: str) -> None:
    assert_refused(shop.generate("x", *options), Exit.USAGE, words)


@pytest.mark.any_sqlalchemy
def test_all_files_or_none(tmp_path: Path) -> None:
    steps = [Step(Path(name), "text", name, None, "", None) for name in ("a/1.py", "2.py", "3.py")]
    (tmp_path / "2.py").write_text("another's")
    heads = ["3.py"]
    bench: Any = SimpleNamespace(
        project=SimpleNamespace(root=tmp_path),
        situation=SimpleNamespace(
            destination=tmp_path, hooks=False, setup=SimpleNamespace(ini=tmp_path / "alembic.ini")
        ),
        scratch=SimpleNamespace(check=lambda: None),
        alembic=lambda *_, **__: SimpleNamespace(
            report={"heads": [{"revision": head} for head in heads]}
        ),
        expect=lambda *_: None,
    )
    with pytest.raises(FileExistsError):
        put_all_in_place(bench, steps, print)
    assert [path.name for path in tmp_path.iterdir()] == ["2.py"]
    (tmp_path / "2.py").unlink()
    heads[0] = "other"
    with pytest.raises(Refusal, match="does not see"):
        put_all_in_place(bench, steps, print)
    assert not list(tmp_path.iterdir())
    heads[0] = "3.py"
    placed, _ = put_all_in_place(bench, steps, print)
    assert [step.path for step in placed] == [tmp_path / step.path for step in steps]


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("sql", "constant"),
    [
        ("'it''s'::character varying", True),
        ("-1.5", True),
        ("now()", True),
        ("CURRENT_TIMESTAMP(6)", True),
        ("(0)", True),
        ("gen_random_uuid()", False),
        ("{row}id", False),
        ("random() * 2", False),
        ("'a' || 'b'", False),
        ("nextval('s'::regclass)", False),
    ],
)
def test_constants(sql: str, constant: bool) -> None:
    assert is_constant(sql) is constant


def place(**more: object) -> dict[str, Any]:
    return {"schema": None, "table": "t", **more}


CATALOG: dict[str, Any] = {
    "database": {"": {"default_schema": "public"}},
    "primary_key": {"": {"schema": "public", "table": "t", "parts": {"columns": ["id"]}}},
    "check": {
        "": {"schema": "public", "table": "t", "name": "ck", "definition": "CHECK ((a > 0))"}
    },
}


def column(name: str, **more: object) -> dict[str, Any]:
    described = {"name": name, "source": "sa.Integer()", "sql": "INTEGER", "nullable": True}
    return {**described, "default": None, "value": None, **more}


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("operations", "words"),
    [
        ([place(op="RenameColumn", column=column("id"), new="key")], "in the primary key"),
        ([place(op="RenameColumn", column=column("a"), new="b")], "The check ck is about t.a"),
        (
            [
                place(op="AlterColumn", column=column("c"), new=column("c"), retyped=True,
                      strict=True),
            ],
            "another type and NOT NULL",
        ),
        (
            [
                place(op="AlterColumn", column=column("c"), new=column("c", default="1"),
                      retyped=True, strict=False),
            ],
            "a default or none",
        ),
        (
            [
                place(op="RenameColumn", column=column("c"), new="d"),
                place(op="AlterColumn", column=column("c"), new=column("c"), retyped=False,
                      strict=True),
            ],
            "changes in two ways",
        ),
        (
            [
                place(op="RenamedTable", new="u"),
                {**place(op="AddColumn", column=column("c")), "table": "u"},
            ],
            "gets a new name and changes",
        ),
        ([place(op="CreateUniqueConstraint", name="u", columns=["c"], options=["deferrable"])],
         "No unique constraint with deferrable"),
    ],
)  # fmt: skip
def test_what_has_to_be_done_one_after_the_other(
    operations: list[dict[str, Any]], words: str
) -> None:
    planner = Planner(operations, Existing(CATALOG), "postgresql", Answers(), lambda *_: True)
    with pytest.raises(NotPossible, match=words):
        planner.plan()


@pytest.mark.parametrize(
    ("deploys", "lines"),
    [
        ((None, None, "new code"), ("alembic upgrade 1", "alembic upgrade head")),
        ((None, None), ("alembic upgrade head", "")),
        (("new code", "new code"), ("", "alembic upgrade head")),
    ],
)
def test_each_half_of_a_deploy_has_its_command(
    deploys: tuple[str | None, ...], lines: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expanding, "next_steps", lambda *_: ["read it", "alembic upgrade head"])
    bench: Any = SimpleNamespace(project=None, situation=None)
    steps = [
        Step(Path("x.py"), "", str(number), None, "", deploy)
        for number, deploy in enumerate(deploys)
    ]
    assert commands(bench, steps) == lines


@pytest.mark.dialects("postgresql")
def test_what_postgresql_converts_by_itself(database_url: str) -> None:
    """A type that the revision makes first is an enum, into which each text goes."""
    scratch = SimpleNamespace(kind="postgresql", url=make_url(database_url))
    bench: Any = SimpleNamespace(scratch=scratch)
    can_cast = caster(bench)
    for old, new, by_itself in (
        ("TEXT", "still_to_come", True),
        ("VARCHAR(20)", "still_to_come", True),
        ("INTEGER", "still_to_come", False),
        ("INTEGER", "BIGINT", True),
        ("BOOLEAN", "TIMESTAMP", False),
    ):
        assert can_cast(old, new) is by_itself, (old, new)


@pytest.mark.parametrize(
    ("on", "old", "new", "rewrite"),
    [
        ("postgresql", String(20), String(30), False),
        ("postgresql", String(30), String(20), True),
        ("postgresql", String(30), Text(), False),
        ("postgresql", Text(), String(30), True),
        ("postgresql", CHAR(20), CHAR(30), True),
        ("postgresql", Numeric(9, 2), Numeric(12, 2), False),
        ("postgresql", Numeric(9, 2), Numeric(9, 3), True),
        ("postgresql", Numeric(9, 2), Numeric(7, 2), True),
        ("postgresql", Numeric(9, 2), Float(), True),
        ("postgresql", Integer(), BigInteger(), True),
        ("postgresql", Enum("a", name="e"), Enum("a", "b", name="e"), False),
        ("postgresql", Enum("a", name="e"), Enum("a", name="f"), True),
        ("mysql", Enum("a", name="e"), Enum("a", "b", name="e"), True),
        ("mysql", String(20), String(63), False),
        ("mysql", String(63), String(64), True),
        ("mysql", String(64), String(200), False),
        ("mysql", String(30), String(20), True),
        ("mysql", Numeric(9, 2), Numeric(12, 2), True),
    ],
)
def test_which_type_is_more_than_a_note_in_the_catalog(
    on: str, old: Any, new: Any, rewrite: bool
) -> None:
    context = AutogenContext(MigrationContext.configure(dialect_name=on), None, autogenerate=False)
    assert Taker(context, []).is_rewrite(old, new) is rewrite


@pytest.mark.parametrize(
    ("parts", "more"),
    [
        ({}, False),
        ({"method": "BTREE"}, False),
        ({"method": "gin"}, True),
        ({"where": "a > 1"}, True),
        ({"include": ["b"]}, True),
        ({"lengths": {"a": 5}}, True),
        ({"keys": [{"column": None}]}, True),
        ({"keys": [{"column": "a", "option": 3}]}, True),
        ({"keys": [{"column": "a", "class": "text_pattern_ops"}]}, True),
    ],
)
def test_an_index_that_is_more_than_its_columns(parts: dict[str, Any], more: bool) -> None:
    assert is_more({"parts": {"keys": [{"column": "a"}], **parts}}) is more


def test_what_begins_with_its_columns_serves_a_foreign_key() -> None:
    keys = {"keys": [{"column": "a"}, {"column": "b"}]}
    index = {"schema": "public", "table": "t", "name": "i", "parts": keys}
    existing = Existing({**CATALOG, "index": {"i": index}})
    for columns, begins in ((("a",), True), (("a", "b"), True), (("b",), False), (("id",), True)):
        assert existing.begins_index(None, "t", columns) is begins, columns


def test_a_renamed_column_of_another_type(shop: Shop, make_database: Callable[[str], str]) -> None:
    """The rename alone would leave a difference behind that Alembic goes on seeing (#15)."""
    run = Database(shop, make_database("postgresql"))
    run.alembic("alembic upgrade head")
    models(shop, "nickname: Mapped[str | None] = mapped_column(Text, index=True)")
    shop.edit("app/models.py", "import CheckConstraint", "import CheckConstraint, Text")
    asked = shop.generate("nickname", "--expand-contract", *RENAME, url=run.url)
    assert_refused(asked, Exit.NOT_POSSIBLE, "nickname")
    ended = shop.generate("nickname", *RENAME, url=run.url)
    assert ended.code == 0, ended.out + ended.err
    run.alembic("alembic upgrade head")
    run.alembic("alembic check")
