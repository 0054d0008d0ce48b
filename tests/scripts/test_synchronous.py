"""An application that is synchronous throughout is served as it is (#12)."""

import importlib.util
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from projects import warm
from projects.setup_door import SCRIPTS, setup
from projects.shop import Shop
from toolkit.database.urls import driver_for
from toolkit.migration.command import require_packages
from toolkit.migration.refusal import Refusal
from toolkit.project import read_project
from toolkit.project.dependencies import missing_packages
from toolkit.report.exits import Exit
from toolkit.setup.command import templates
from toolkit.setup.plan import Options, make_plan

pytestmark = pytest.mark.any_sqlalchemy

BASE = "\n\nclass Base(DeclarativeBase):\n    pass\n"
ENGINE = (
    "from sqlalchemy import create_engine\nfrom sqlalchemy.orm import DeclarativeBase\n\n"
    f"DATABASE_URL = 'sqlite:///dev.db'\nengine = create_engine(DATABASE_URL)\n{BASE}"
)
ENV = """
from alembic import context

import app.models
from app.db import Base, engine

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
CONFIGURED = """
from alembic import context
from sqlalchemy import engine_from_config, pool

import app.models
from app.db import DATABASE_URL, Base

context.config.set_main_option("sqlalchemy.url", {url})
engine = engine_from_config(
    context.config.get_section("alembic"), prefix="sqlalchemy.", poolclass=pool.NullPool
)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
# app/db.py of an application, and whether it is synchronous.
STYLES = {
    "an engine": (ENGINE, True),
    "the library's name": (
        "import sqlalchemy as sa\nfrom sqlalchemy import orm\n\n"
        f"engine = sa.create_engine('sqlite://')\n{BASE.replace('Decl', 'orm.Decl')}",
        True,
    ),
    "sessions only": (
        "from sqlalchemy.orm import DeclarativeBase, sessionmaker\n\n"
        f"Session = sessionmaker()\n{BASE}",
        True,
    ),
    "SQLModel": (
        "from sqlalchemy.orm import DeclarativeBase\nfrom sqlmodel import Session, create_engine\n"
        f"\nengine = create_engine('sqlite://')\n{BASE}",
        True,
    ),
    "AsyncAttrs are no engine": (
        f"from sqlalchemy.ext.asyncio import AsyncAttrs\n{ENGINE}",
        True,
    ),
    "imported in a function": (
        "from sqlalchemy.orm import DeclarativeBase\n\n\ndef engine():\n"
        f"    from sqlalchemy import create_engine\n    return create_engine('x')\n{BASE}",
        True,
    ),
    "both": (f"from sqlalchemy.ext.asyncio import create_async_engine\n{ENGINE}", False),
    "the async library's name": (f"import sqlalchemy.ext.asyncio as sa_async\n{ENGINE}", False),
    "SQLModel's async session": (
        f"from sqlmodel.ext.asyncio.session import AsyncSession\n{ENGINE}",
        False,
    ),
    "another library's session": (
        f"from requests import Session\nfrom sqlalchemy.orm import DeclarativeBase\n{BASE}",
        False,
    ),
    "neither": (f"from sqlalchemy.orm import DeclarativeBase\n{BASE}", False),
}


def shop_with(root: Path, db: str, env: str) -> Shop:
    shop = Shop(root)
    shop.write("app/db.py", db)
    shop.write("alembic/env.py", env)
    return shop


@pytest.mark.parametrize("name", STYLES)
def test_is_it_synchronous(name: str, tmp_path: Path) -> None:
    db, synchronous = STYLES[name]
    assert read_project(shop_with(tmp_path, db, ENV).root).is_sync == synchronous


RUNNER = """
import asyncio

from alembic import context
from app.db import Base


async def online():
    context.configure(target_metadata=Base.metadata)


def run_all():
    asyncio.run(online())
"""
ENVS = {
    "its engine is imported": (ENV.replace("\nwith", "\nasync def go():\n    pass\n\nwith"), True),
    "it calls what is asynchronous": (
        "from alembic import context\nfrom app.migrate import run_all\n\nrun_all()\n",
        True,
    ),
    "run_sync is called on something": (
        f"{ENV}\nengine.connect().run_sync(print)\n",
        True,
    ),
    "it calls what is synchronous": (
        f"from app.migrate import other\n{ENV}\nother()\n",
        False,
    ),
    "only a comment speaks of asyncio": (f"# asyncio, AsyncEngine: not here\n{ENV}", False),
    "synchronous": (ENV, False),
}


@pytest.mark.parametrize("name", ENVS)
def test_is_env_py_asynchronous(name: str, tmp_path: Path) -> None:
    env, asynchronous = ENVS[name]
    shop = shop_with(tmp_path, ENGINE, env)
    shop.write("app/migrate.py", f"{RUNNER}\n\ndef other():\n    return 1\n")
    (found,) = read_project(shop.root).alembic
    assert found.is_async == asynchronous


def test_nothing_to_do_where_nothing_is_wrong(tmp_path: Path) -> None:
    shop = shop_with(tmp_path, ENGINE, ENV)
    shop.add_first()
    before = shop.files()
    ended = setup(shop.root, "--json")
    assert ended.code == 0, ended.err
    assert ended.document["status"] == "nothing-to-do"
    assert "check" in ended.document["proof"]["steps"]
    assert not [note for note in ended.document["notes"] if "async" in note.lower()]
    assert shop.files() == before


@pytest.mark.parametrize(
    ("url", "code"), [('DATABASE_URL.replace("+aiosqlite", "")', 0), ("DATABASE_URL", 7)]
)
def test_a_synchronous_env_py_beside_an_asynchronous_application(
    url: str, code: int, tmp_path: Path
) -> None:
    """It may do its work, with a driver of its own: then nothing is wrong."""
    db = ENGINE.replace("sqlite:", "sqlite+aiosqlite:").replace(
        "create_engine", "create_async_engine"
    )
    db = db.replace("from sqlalchemy import", "from sqlalchemy.ext.asyncio import")
    shop = shop_with(tmp_path, db, CONFIGURED.format(url=url))
    shop.add_first()
    before = shop.files()
    ended = setup(shop.root, "--json")
    assert ended.code == code, ended.err
    assert ended.document["status"] == ("refused" if code else "nothing-to-do")
    assert shop.files() == before


def test_an_env_py_that_cannot_be_run_is_not_blamed(tmp_path: Path) -> None:
    """The project's own code stops before: that is told, and env.py is left (#12)."""
    db = ENGINE.replace("sqlite:", "sqlite+aiosqlite:").replace(
        "create_engine", "create_async_engine"
    )
    db = db.replace("from sqlalchemy import", "from sqlalchemy.ext.asyncio import")
    shop = shop_with(tmp_path, db, CONFIGURED.format(url="DATABASE_URL"))
    shop.write("app/config.py", "ORIGINS = int('*')\n")
    shop.edit("app/db.py", "DATABASE_URL = ", "from app.config import ORIGINS\n\nDATABASE_URL = ")
    ended = setup(shop.root, "--dry-run", "--json")
    assert ended.code == 0, ended.err
    assert ended.document["status"] == "nothing-to-do"
    (note,) = [note for note in ended.document["notes"] if "not seen to connect" in note]
    assert "app/config.py:1" in note
    assert setup(shop.root).code == Exit.BROKEN_PROJECT


def test_a_synchronous_project_gets_an_environment_that_works(tmp_path: Path) -> None:
    shop = shop_with(tmp_path, ENGINE, ENV)
    for name in ("alembic.ini", "alembic/env.py", "alembic/script.py.mako"):
        (shop.root / name).unlink()
    ended = setup(shop.root, "--json")
    assert ended.code == 0, ended.err
    assert ended.document["proof"]["tables"] == ["users"]
    # Nobody is told that it becomes asynchronous (#12).
    assert "Alembic environment" in {one["reason"] for one in ended.document["changes"]}
    assert setup(shop.root, "--json").document["status"] == "nothing-to-do"


def test_nothing_asynchronous_has_to_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = read_project(shop_with(tmp_path, ENGINE, ENV).root)
    bare = {**dict.fromkeys(project.versions), "sqlalchemy": "2.1.9", "alembic": "1.20"}
    synchronous = replace(project, versions=bare)
    assert missing_packages(synchronous) == ()
    require_packages(synchronous)
    asynchronous = replace(synchronous, is_sync=False)
    require_packages(asynchronous)  # its env.py is not asynchronous
    (found,) = asynchronous.alembic
    with pytest.raises(Refusal) as refused:
        require_packages(replace(asynchronous, alembic=(replace(found, is_async=True),)))
    assert refused.value.problem.exit_code == Exit.MISSING_DEPENDENCY
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name in {"greenlet", "psycopg2", "psycopg", "pg8000"} else there(name),
    )
    assert driver_for("sqlite") == "pysqlite"
    for scheme, package in (
        ("postgresql", "psycopg[binary]"),
        ("postgresql+psycopg2", "psycopg2-binary"),
        ("mysql+mysqldb", "mysqlclient"),
        ("sqlite", None),
    ):
        expected = (package,) if package else ()
        assert missing_packages(replace(synchronous, scheme=scheme)) == expected
    assert "async" not in " ".join(make_plan(synchronous, templates(), Options()).notes)


def connection(shop: Shop, url: str) -> dict[str, Any]:
    ended = warm.door(
        SCRIPTS / "test-connection.sh", "--json", cwd=shop.root, environment=shop.environment(url)
    )
    report: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == report["exit"]
    return report


FROM_ENVIRONMENT = ENGINE.replace("'sqlite:///dev.db'", "os.environ['DATABASE_URL']")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_its_connection_is_tested_as_it_is(
    kind: str, tmp_path: Path, make_database: Callable[[str], str]
) -> None:
    """With its own driver, and nobody speaks of another."""
    driver = {"sqlite": "pysqlite", "postgresql": "psycopg", "mysql": "pymysql"}[kind]
    url = re.sub(r"\+\w+", f"+{driver}", make_database(kind))
    if kind == "sqlite":
        sqlite3.connect(url.partition(":///")[2]).execute("CREATE TABLE x (y)")
    shop = shop_with(tmp_path, f"import os\n\n{FROM_ENVIRONMENT}", ENV)
    report = connection(shop, url)
    steps = {step["layer"]: step for step in report["steps"]}
    assert steps["driver"]["status"] == "ok"
    assert driver in steps["driver"]["message"]
    assert steps["pool"]["status"] == "ok"
    assert "async" not in json.dumps(report)
    # What it may rely on is the end of the way: the migrations, which have not run.
    assert steps["revision"]["status"] == "ok"


def test_a_refused_connection_is_told_as_well(tmp_path: Path) -> None:
    shop = shop_with(tmp_path, f"import os\n\n{FROM_ENVIRONMENT}", ENV)
    report = connection(shop, "postgresql+psycopg://dev:s3cret@127.0.0.1:1/shop")
    assert report["exit"] == Exit.NETWORK


def test_nothing_asynchronous_is_imported_for_it() -> None:
    """SQLAlchemy 2.1 refuses `sqlalchemy.ext.asyncio` to who has no greenlet."""
    modules = ["connection.ladder", "connection.sqlite_ladder", "database.session"]
    modules += ["database.connecting", "migration.outcome", "queries.outcome", "setup.prove"]
    code = "import sys\nsys.modules['greenlet'] = None\n" + "".join(
        f"import toolkit.{name}\n" for name in modules
    )
    subprocess.run(
        [sys.executable, "-c", f"{code}assert 'sqlalchemy.ext.asyncio' not in sys.modules"],
        cwd=SCRIPTS,
        check=True,
    )
