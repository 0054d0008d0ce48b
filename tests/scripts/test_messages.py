"""Verdicts and next steps on what strangers' projects do (#12)."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from alembic.operations import ops

from projects.setup_door import alembic, generate, setup
from projects.shop import FILES, Shop
from servers.postgres import PostgresServer
from toolkit.connection.source import is_whole
from toolkit.database.alembic_process import AlembicResult
from toolkit.database.naming_worker import key_of, name_for
from toolkit.migration.reviewing import refuse_env
from toolkit.migration.situation import created_twice
from toolkit.project import read_project
from toolkit.project.prove import import_models
from toolkit.report.exits import Exit


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "my shop")


def with_programs(variables: dict[str, str]) -> dict[str, str]:
    """As in a shell in which the project's environment is activated."""
    return {**variables, "PATH": f"{sys.prefix}/bin:{variables['PATH']}"}


OWNERS = """
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Owner(Base):
    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)


class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"))
    code: Mapped[str] = mapped_column(String(20))
"""


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.older_sqlalchemy_on("postgresql")
def test_unnamed_constraints_that_drift_block_nothing(shop: Shop, database_url: str) -> None:
    """Alembic would write `drop_constraint(None, ...)` as the way back. Alembic runs the result."""
    shop.write("app/models.py", OWNERS)
    first = shop.generate("first", url=database_url)
    assert first.code == 0, first.err
    ini = shop.root / "alembic.ini"
    assert alembic(ini, "upgrade", "head", url=database_url).code == 0
    shop.edit("app/models.py", '"owner.id")', '"owner.id", ondelete="CASCADE")')
    shop.edit("app/models.py", "String(20))", "String(20), unique=True)")
    shop.write("app/later.py", "")
    second = shop.generate("cascade", url=database_url)
    assert second.code in {0, Exit.HAZARDS}, second.err
    text = max(shop.versions(), key=lambda path: path.stat().st_mtime_ns).read_text()
    assert "constraint(None" not in text
    assert "foreign_key(None" not in text
    for words in (("upgrade", "head"), ("check",), ("downgrade", "-1"), ("upgrade", "head")):
        ended = alembic(ini, *words, url=database_url)
        assert ended.code == 0, (words, ended.err)


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("on", "name"),
    [
        ("postgresql", f"{'t' * 58}_fkey"),
        ("mysql", f"fk_{'t' * 60}_"),
        ("sqlite", f"fk_{'t' * 60}"),
    ],
)
def test_a_long_name_is_cut_where_the_database_cuts_it(on: str, name: str) -> None:
    key = ops.CreateForeignKeyOp(None, "t" * 60, "owner", ["owner_id"], ["id"])
    assert name_for("t" * 60, key, {}, on) == name
    assert name_for("t", key, {}, on) in {"t_owner_id_fkey", "fk_t_owner_id"}
    assert name_for("t", key, {key_of(key): "as_before"}, on) == "as_before"


@pytest.mark.dialects("postgresql")
@pytest.mark.any_sqlalchemy
def test_a_primary_key_that_is_unique_too(tmp_path: Path, database_url: str) -> None:
    """PostgreSQL makes one constraint of the two; Alembic's check sees none missing."""
    root = tmp_path / "shop"
    for name, text in FILES.items():
        if name.startswith("app/") or name == "pyproject.toml":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(
                text.replace("primary_key=True", "primary_key=True, unique=True")
            )
    ended = setup(root, "--no-prove", url=database_url)  # the revision's proof has it run (#10)
    assert ended.code == 0, ended.err
    assert generate(root, "first", url=database_url).code == 0
    ini = root / "alembic.ini"
    assert alembic(ini, "upgrade", "head", url=database_url).code == 0
    checked = alembic(ini, "check", url=database_url)
    assert checked.code == 0, checked.err


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_check_and_generate_agree_on_no_tables(shop: Shop) -> None:
    """None anywhere is no difference, as Alembic says, too; tables that would go are one."""
    shop.write("app/models.py", "from app.db import Base\n")
    checked = shop.generate("--check")
    assert checked.code == 0, checked.err
    assert alembic(shop.root / "alembic.ini", "check", url="sqlite+aiosqlite:///dev.db").code == 0
    ended = shop.generate("nothing")
    assert ended.code == Exit.NO_CHANGES, ended.err
    for said in (" ".join(checked.out.split()), ended.err):
        assert "has no tables, and neither have the source and the migrations" in said
        assert "target_metadata in alembic/env.py" in said
    shop.add_first()
    for metadata in ("Base.metadata", "None"):
        shop.edit("alembic/env.py", "Base.metadata", metadata)
        for arguments in ("--check", "nothing"):
            ended = shop.generate(arguments)
            assert ended.code == Exit.EMPTY_METADATA, ended.err
            assert "target_metadata in alembic/env.py" in ended.err


SYNC_ENV = """
import warnings

import app.models
from alembic import context
from app.db import DATABASE_URL, Base
from sqlalchemy import create_engine

warnings.simplefilter("ignore")  # it is deprecated
with create_engine(DATABASE_URL + "?async_fallback=true").connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.mark.dialects("postgresql")
def test_an_asynchronous_driver_that_is_waited_for(shop: Shop, database_url: str) -> None:
    """SQLAlchemy 2.0 has it for a synchronous env.py; in 2.1 it is gone, and Alembic fails."""
    shop.write("alembic/env.py", SYNC_ENV)
    shop.add_first()
    works = alembic(shop.root / "alembic.ini", "upgrade", "head", url=database_url).code == 0
    assert works == sqlalchemy.__version__.startswith("2.0")
    ended = setup(shop.root, "--dry-run", url=database_url)
    assert ended.code == (0 if works else Exit.WOULD_OVERWRITE), ended.err
    assert ("nothing to do" in ended.out) == works


REGISTRY = """
import importlib
import pkgutil

import app.tables
from app.db import Base as Base

for found in pkgutil.iter_modules(app.tables.__path__):
    importlib.import_module(f"app.tables.{found.name}")
"""


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize("all_found", [True, False])
def test_what_is_imported_by_a_rule_is_asked_of_env_py(shop: Shop, all_found: bool) -> None:
    """Its run tells which models are missing: none is imported twice, and none is overlooked."""
    models = (shop.root / "app/models.py").read_text(encoding="utf-8")
    (shop.root / "app/models.py").unlink()
    shop.write("app/tables/__init__.py", "")
    shop.write("app/tables/some.py", models)
    shop.write("app/registry.py", REGISTRY)
    shop.write(
        "app/main.py", "from fastapi import FastAPI\n\nimport app.registry\n\napi = FastAPI()\n"
    )
    shop.edit("alembic/env.py", "import app.models\nfrom app.db import DATABASE_URL, Base",
              "from app.db import DATABASE_URL\nfrom app.registry import Base")  # fmt: skip
    if not all_found:
        shop.write("app/elsewhere.py", LEFT_OUT)
    ended = setup(shop.root, "--dry-run", url="sqlite+aiosqlite:///dev.db")
    assert ended.code == 0, ended.err
    assert "import app.tables" not in ended.out
    assert ("nothing to do" in ended.out) == all_found
    assert ("import app.elsewhere" in ended.out) != all_found


LEFT_OUT = """
from app.db import Base
from sqlalchemy.orm import Mapped, mapped_column


class Elsewhere(Base):
    __tablename__ = "elsewhere"
    id: Mapped[int] = mapped_column(primary_key=True)
"""


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_another_setting_that_is_missing_is_named(shop: Shop) -> None:
    """No database's URL would help: the code stops before, and it is no question of dialects."""
    shop.edit("app/db.py", "import os\n", "import os\n\nCONFIG = os.environ['APP_CONFIG_FILE']\n")
    for arguments in (("--check",), ("first",)):
        ended = shop.generate(*arguments, url=None)
        assert ended.code == Exit.BROKEN_PROJECT, ended.err
        assert "does not load: KeyError: 'APP_CONFIG_FILE'" in ended.err
        assert "app/db.py:3" in ended.err


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_a_crash_of_env_py_is_no_difference(shop: Shop) -> None:
    """Of plain `alembic check`, too: its command line has no --autogenerate."""
    hook = "process_revision_directives=lambda *_: context.config.cmd_opts.autogenerate"
    shop.edit("alembic/env.py", "Base.metadata)", f"Base.metadata, {hook})")
    shop.add_first()
    ended = setup(shop.root, url="sqlite+aiosqlite:///dev.db")
    assert "sees differences" not in ended.err
    assert ended.code == Exit.PROOF_FAILED
    assert "alembic/env.py fails in `alembic check`" in ended.err
    assert "alembic/env.py:" in ended.err


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_the_merge_that_is_offered_works_from_here(shop: Shop) -> None:
    """Two roots: the printed line is run as it stands, in the folder where it was printed."""
    for name in ("one", "two"):
        shop.write(
            f"alembic/versions/{name}.py",
            f"revision = {name!r}\ndown_revision = None\n\n\n"
            "def upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n",
        )
    below = shop.root / "app"
    ended = generate(below, "more", url="sqlite+aiosqlite:///dev.db")
    assert ended.code == Exit.SEVERAL_HEADS, ended.err
    line = ended.err.partition("join them: ")[2].partition(" -- or")[0]
    assert line.startswith("cd ")
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=below,
        env=with_programs(shop.environment("sqlite+aiosqlite:///dev.db")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "one" in shlex.split(line)
    again = generate(below, "more", url="sqlite+aiosqlite:///dev.db")
    assert again.code != Exit.SEVERAL_HEADS, again.err


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_two_roots_that_repeat_each_other(shop: Shop) -> None:
    """Joined or put in a row they fail: both create the table. What is said is done here."""
    shop.add_first()
    first = (shop.root / "alembic/versions/first.py").read_text()
    shop.write("alembic/versions/second.py", first.replace('"first"', '"second"'))
    ended = shop.generate("more")
    assert ended.code == Exit.SEVERAL_HEADS, ended.err
    assert "each creates users" in ended.err
    removed = ended.err.partition("git rm ")[2].partition(".py")[0] + ".py"
    stamp = ended.err.partition("told so: ")[2].splitlines()[0]
    kept = stamp.split()[-1]
    url = f"sqlite+aiosqlite:///{shop.root}/dev.db"
    ini = shop.root / "alembic.ini"
    assert alembic(ini, "upgrade", Path(removed).stem, url=url).code == 0
    (shop.root / removed).unlink()
    line = f"cd {shlex.quote(str(shop.root))} && {stamp}"
    subprocess.run(["bash", "-c", line], env=with_programs(shop.environment(url)), check=True)
    assert kept in alembic(ini, "current", url=url).out
    assert shop.generate("more", url=url).code == Exit.NO_CHANGES


@pytest.mark.any_sqlalchemy
def test_what_only_one_root_creates_does_not_repeat(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.py", "two.py")]
    for file, table in zip(files, ("posts", "tags"), strict=True):
        file.write_text(f"op.create_table('users')\nop.create_table('{table}')\n")
    assert created_twice(files) == ["users"]


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("postgresql+asyncpg://app:secret@db/shop", True),
        ("postgresql://app@db/shop", True),
        ("sqlite+aiosqlite:///shop.db", True),
        ("app:secret@db/shop", False),
        ("postgresql://app:***@db/shop", False),
        ("postgresql://app:xxxx@db/shop", False),
        ("db", False),
    ],
)
def test_a_part_of_a_url_is_no_other_database(text: str, whole: bool) -> None:
    assert is_whole(text) is whole


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_a_model_with_columns_of_its_own_is_no_table(shop: Shop) -> None:
    """Methods of that name, as bases that turn rows into dictionaries have them."""
    method = "    @classmethod\n    def {}(cls) -> list[str]:\n        return []\n\n"
    methods = method.format("columns") + method.format("tables")
    shop.edit("app/db.py", "(DeclarativeBase):\n    pass\n", f"(DeclarativeBase):\n{methods}")
    given = {**os.environ, "DATABASE_URL": "sqlite+aiosqlite:///dev.db"}
    report = import_models(read_project(shop.root), ["app.models"], environment=given)
    assert report.ok, report.errors
    assert report.tables == {"app.db:Base": ("users",)}
    shop.add_first()
    ended = shop.generate("--check")
    assert ended.code == 0, ended.err


SHARED = """
from sqlalchemy import Enum
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class One(Base):
    __tablename__ = "one"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Enum("A", "B", name="kind"))


class Two(Base):
    __tablename__ = "two"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Enum("A", "B", name="kind"))
"""
MAKES = (
    "op.create_table('{}', sa.Column('id', sa.Integer(), primary_key=True),"
    " sa.Column('kind', sa.Enum('A', 'B', name='kind'), nullable=False))"
)


@pytest.mark.dialects("postgresql")
@pytest.mark.any_sqlalchemy
def test_an_enum_that_two_revisions_make(shop: Shop, database_url: str) -> None:
    """Alembic makes it once where both run in one go, and stops at the second where one has run."""
    shop.write("app/models.py", SHARED)
    shop.add_revision("a1", None, MAKES.format("one"), "op.drop_table('one')")
    drop = "op.drop_table('two'); op.execute('DROP TYPE IF EXISTS kind CASCADE')"
    shop.add_revision("a2", "a1", MAKES.format("two"), drop)
    shop.add_revision("a3", "a2")
    ini = shop.root / "alembic.ini"
    assert shop.generate("--check", url=database_url).code == 0
    assert setup(shop.root, url=database_url).code == 0
    reviewed = shop.generate("--review", "a2", url=database_url)
    codes = [alembic(ini, "upgrade", one, url=database_url).code for one in ("a1", "a2")]
    assert codes[0] == 0
    assert codes[1] != 0
    assert reviewed.code == Exit.HAZARDS
    assert 'type "kind" already exists' in reviewed.out


RESERVED = """
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    order: Mapped[int]
"""


@pytest.mark.dialects("postgresql")
@pytest.mark.any_sqlalchemy
def test_reserved_names_are_quoted_in_what_is_printed(
    shop: Shop, database_url: str, postgres_server: PostgresServer
) -> None:
    """PostgreSQL reads each printed statement that stands in one string."""
    shop.write("app/models.py", RESERVED)
    shop.add_revision(
        "a1",
        None,
        "op.create_table('user', sa.Column('id', sa.Integer(), primary_key=True),"
        " sa.Column('order', sa.String(50), nullable=False),"
        " sa.Column('group', sa.String(), nullable=False))",
        "op.drop_table('user')",
    )
    retype = (
        "op.alter_column('user', 'order', type_=sa.Integer(), postgresql_using='\"order\"::int')"
    )
    shop.add_revision("a2", "a1", f"op.drop_column('user', 'group'); {retype}")
    printed = shop.generate("--review", "a2", url=database_url).out
    code = "\n".join(line for line in printed.splitlines() if line.startswith(" " * 10))
    assert "ALTER TABLE" in code
    assert not re.search(r"\b(?:TABLE|ON|FROM|UPDATE|INTO|COLUMN|TO) (?:user|order|group)\b", code)
    literals = re.findall(r"op\.execute\(\s*('[^\n]*')(?:\s+('[^\n]*'))?\s*\)", printed)
    statements = {"".join(map(ast.literal_eval, filter(None, one))) for one in literals}
    assert len(statements) >= 8
    for statement in statements:
        tag = "$of_the_test$"
        postgres_server.execute(f"DO {tag} BEGIN RETURN; {statement}; END {tag}")


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("where", "begun", "refused"),
    [
        ("alembic/env.py:3", False, True),
        ("app/settings.py:3", False, True),
        ("alembic/versions/one.py:3", False, False),
        ("app/helpers.py:3", True, False),
        ("", False, False),
    ],
)
def test_what_stops_before_any_revision_begins(where: str, begun: bool, refused: bool) -> None:
    """What a revision calls in the project's own code is a finding on the revision."""
    said: list[object] = []
    setup = SimpleNamespace(versions=[Path("alembic/versions")])
    bench: Any = SimpleNamespace(
        situation=SimpleNamespace(setup=setup), expect=lambda *words: said.append(words)
    )
    result = AlembicResult(1, "", "", {"error": {"where": where}}, "it stops")
    refuse_env(bench, result, {"revisions": [{}] if begun else []})
    assert bool(said) is refused


def test_an_env_py_that_stops_is_no_fault_of_a_revision(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    shop.add_first()
    shop.edit("alembic/env.py", "    context.configure", "    1 / 0\n    context.configure")
    ended = shop.generate("--check")
    assert ended.code == Exit.PROOF_FAILED
    assert "ZeroDivisionError" in ended.err
    line = (shop.root / "alembic/env.py").read_text().split("    1 / 0\n")[0].count("\n") + 1
    assert f"  at alembic/env.py:{line}" in ended.err
