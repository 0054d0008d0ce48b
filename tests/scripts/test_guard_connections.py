"""The guard: whatever a project's code asks for, it gets the scratch database or an error."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from corpus.runner import CORPUS, SYNC_ENV, Workplace
from projects import warm
from toolkit.database import guard
from toolkit.database.alembic_process import run_alembic
from toolkit.database.scratch import execute
from toolkit.database.urls import KINDS
from toolkit.migration.situation import server_url

GUARD = Path(guard.__file__)

# Reads: the scratch's URL, the URL that the project asks for.
START = f"""
import asyncio, importlib.util, sys
from sqlalchemy import create_engine, engine_from_config, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import async_engine_from_config, create_async_engine
from sqlalchemy.pool import NullPool, StaticPool
spec = importlib.util.spec_from_file_location("_guard", {str(GUARD)!r})
guard = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guard)
scratch, asked = (line.strip() for line in sys.stdin)
WHERE = guard.WHERE_AM_I[guard.FAMILY[make_url(scratch).get_backend_name()]]
def sync(engine):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE made_here (x integer)"))
        return connection.execute(text(WHERE)).first()[-1]
async def go(engine):
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE made_here (x integer)"))
        where = (await connection.execute(text(WHERE))).first()[-1]
    await engine.dispose()
    return where
watch = guard.Guard(make_url(scratch))
"""

DRIVERS = {
    "postgresql+asyncpg": "asyncpg",
    "postgresql+psycopg": "psycopg",
    "postgresql+psycopg2": "psycopg2",
    "sqlite+aiosqlite": "aiosqlite",
    "sqlite": "sqlite3",
    "mysql+aiomysql": "aiomysql",
    "mysql+asyncmy": "asyncmy",
    "mysql+pymysql": "pymysql",
    "mariadb+aiomysql": "aiomysql",
}
WAYS = {
    "sync": "watch.install(); print(sync(create_engine(asked)))",
    "async": "watch.install(); print(asyncio.run(go(create_async_engine(asked))))",
    "engine before the guard": "e = create_engine(asked); watch.install(); print(sync(e))",
    "from config": (
        "watch.install(); print(sync(engine_from_config({'sqlalchemy.url': asked},"
        " poolclass=NullPool)))"
    ),
    "async from config": (
        "watch.install(); print(asyncio.run(go(async_engine_from_config("
        "{'sqlalchemy.url': asked}, poolclass=NullPool))))"
    ),
    "own listener": (
        "e = create_engine(asked)\n"
        "@event.listens_for(e, 'do_connect')\n"
        "def other(dialect, record, args, params):\n"
        "    return dialect.connect(*args, **params)\n"
        "watch.install(); print(sync(e))"
    ),
}
ASYNC = {"asyncpg", "aiosqlite", "aiomysql", "asyncmy"}


def run(program: str, *lines: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [warm.python(), "-c", START + program],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def tables(url: str) -> list[str]:
    parsed = make_url(url)
    statement = {
        "sqlite": "SELECT name FROM sqlite_master",
        "postgresql": "SELECT relname FROM pg_class WHERE relname = 'made_here'",
        "mysql": "SHOW TABLES",
    }[parsed.get_backend_name()]
    return [str(row[0]) for row in execute(parsed, statement)]


def cases() -> list[tuple[str, str]]:
    """Every driver once; every way of making an engine on one driver of its sort."""
    simplest = [(d, "async" if module in ASYNC else "sync") for d, module in DRIVERS.items()]
    ways = [("postgresql+asyncpg" if w.startswith("async") else "mysql+pymysql", w) for w in WAYS]
    both = ("postgresql+psycopg", "async")
    return list(dict.fromkeys([*simplest, *ways, both]))


@pytest.fixture(scope="module")
def pairs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], tuple[str, str]]]:
    """Two databases of a kind, the developer's and the scratch: made once, and empty again."""
    names, made = ("asp_guard_dev", "asp_guard_scratch"), {}
    servers: list[Any] = []

    def pair(kind: str) -> tuple[str, str]:
        if kind == "sqlite":
            folder = tmp_path_factory.mktemp("pair")
            return f"sqlite+aiosqlite:///{folder}/dev.db", f"sqlite+aiosqlite:///{folder}/s.db"
        if kind not in made:
            fixture = "postgres_server" if kind == "postgresql" else "mysql_server"
            servers.append(request.getfixturevalue(fixture))
            for name in names:
                servers[-1].create_database(name)
            made[kind] = servers[-1].url(names[0]), servers[-1].url(names[1])
        return made[kind]

    yield pair
    for server in servers:
        for name in names:
            server.drop_database(name)


@pytest.mark.parametrize(("driver", "way"), cases())
def test_every_connection_goes_to_the_scratch(
    driver: str, way: str, pairs: Callable[[str], tuple[str, str]]
) -> None:
    if importlib.util.find_spec(DRIVERS[driver]) is None:
        pytest.skip(f"{DRIVERS[driver]} is not installed here")
    kind = {"mariadb": "mysql"}.get(driver.partition("+")[0], driver.partition("+")[0])
    dev, scratch = pairs(kind)
    asked = make_url(dev).set(drivername=driver).render_as_string(hide_password=False)
    ended = run(WAYS[way], scratch, asked)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == make_url(scratch).database
    assert tables(scratch) == ["made_here"]
    assert tables(dev) == []
    execute(make_url(scratch), "DROP TABLE made_here")


@pytest.mark.dialects("postgresql", "mysql")
def test_the_address_asked_for_need_not_exist(dialect: str, database_url: str) -> None:
    driver = make_url(database_url).drivername
    asked = f"{driver}://nobody:x@no.such.host.invalid:9/none"
    ended = run(WAYS["async"], database_url, asked)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == make_url(database_url).database


@pytest.mark.dialects("postgresql")
def test_settings_that_are_no_address_are_kept(dialect: str, database_url: str) -> None:
    program = (
        "watch.install()\n"
        "async def main():\n"
        "    engine = create_async_engine(asked, connect_args={'server_settings':"
        " {'application_name': 'kept'}, 'statement_cache_size': 0})\n"
        "    async with engine.connect() as c:\n"
        "        print((await c.execute(text('SHOW application_name'))).scalar())\n"
        "    await engine.dispose()\n"
        "asyncio.run(main())"
    )
    ended = run(program, database_url, "postgresql+asyncpg://a:b@127.0.0.1:1/c")
    assert ended.stdout.strip() == "kept", ended.stderr


def test_certificates_are_for_the_server_that_they_were_made_for() -> None:
    scratch = make_url("postgresql+asyncpg://me:x@scratch.example/empty")
    dialect = scratch.get_dialect()()
    asked = {"host": "db.example", "ssl": object(), "timeout": 5}
    _, elsewhere = guard.scratch_arguments(dialect, scratch, asked)
    assert (elsewhere.get("ssl"), elsewhere["timeout"]) == (None, 5)
    _, there = guard.scratch_arguments(dialect, scratch, {**asked, "host": "scratch.example"})
    assert there["ssl"] is asked["ssl"]


@pytest.mark.parametrize(("driver", "name"), [("asyncpg", "ssl"), ("psycopg", "sslmode")])
def test_a_scratch_url_that_asks_for_tls_gets_it(driver: str, name: str) -> None:
    scratch = make_url(f"postgresql+{driver}://me:x@scratch.example/empty?{name}=require")
    dialect = scratch.get_dialect()()
    _, merged = guard.scratch_arguments(dialect, scratch, {"host": "db.example", name: "disable"})
    assert merged[name] == "require"


def test_another_kind_of_database_is_refused(make_database: Callable[[str], str]) -> None:
    ended = run(WAYS["async"], make_database("postgresql"), "sqlite+aiosqlite://")
    assert ended.returncode != 0
    assert "DatabaseRefused: the project connects with sqlite+aiosqlite" in ended.stderr


def test_an_engine_with_a_creator_is_refused_before_its_first_statement(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    program = (
        "import sqlite3\n"
        f"make = lambda: sqlite3.connect({str(tmp_path / 'd')!r})\n"
        "e = create_engine('sqlite://', creator=make)\n"
        "watch.install(); sync(e)"
    )
    ended = run(program, make_database("sqlite"), "-")
    assert "DatabaseRefused: an engine with its own creator=" in ended.stderr
    assert tables(f"sqlite+aiosqlite:///{tmp_path / 'd'}") == []


def test_a_server_that_says_another_name_is_refused(make_database: Callable[[str], str]) -> None:
    """What the arguments say does not count, only what the server answers."""
    program = (
        "dev = make_url(asked)\n"
        "real = guard.scratch_arguments\n"
        "guard.scratch_arguments = lambda d, s, p: real(d, dev, p)\n"
        "watch.install(); print(asyncio.run(go(create_async_engine(asked))))"
    )
    dev = make_database("postgresql")
    ended = run(program, make_database("postgresql"), dev)
    assert "DatabaseRefused: the connection reached" in ended.stderr
    assert tables(dev) == []


@pytest.mark.parametrize(
    ("driver", "url"),
    [
        ("asyncpg", "postgresql+asyncpg://me:p%40ss@db.example:6543/shop?ssl=require"),
        ("psycopg", "postgresql+psycopg://me:p%40ss@db.example:6543/shop?sslmode=require"),
        ("aiomysql", "mysql+aiomysql://me:p%40ss@db.example:6543/shop"),
    ],
)
def test_probe_reports_the_address_and_connects_to_nothing(driver: str, url: str) -> None:
    if importlib.util.find_spec(driver) is None:
        pytest.skip(f"{driver} is not installed here")
    program = (
        "probe = guard.Probe(); probe.install()\n"
        "try:\n    asyncio.run(go(create_async_engine(asked)))\n"
        "except guard.DatabaseSeen:\n    pass\n"
        "import json; print(json.dumps(probe.seen))"
    )
    ended = run(program, "sqlite://", url)
    import json

    seen = json.loads(ended.stdout)
    assert (seen["host"], seen["port"], seen["database"]) == ("db.example", 6543, "shop")
    assert (seen["user"], seen["password"]) == ("me", "p@ss")
    assert seen["driver"] == driver
    assert seen["ssl"] == ("require" if driver != "aiomysql" else None)
    assert server_url(seen, KINDS[seen["dialect"]]) == make_url(url)


def test_a_password_that_only_env_py_knows_is_masked(tmp_path: Path) -> None:
    """It stands in no variable; the probe has seen it."""
    url = "postgresql+psycopg://me:hunter2-own@db.example/shop"
    env = SYNC_ENV.replace("with engine", 'print("it is hunter2-own")\nwith engine', 1)
    place = Workplace(tmp_path / "p", CORPUS / "sqlite", url=url, env=env)
    ended = run_alembic(place.project, ["current"], None, ini=place.ini, extra={"action": "probe"})
    assert ended.report["seen"]["password"] == "hunter2-own"
    assert ended.stdout + ended.stderr == "it is ***\n"


def test_the_guard_needs_no_toolkit() -> None:
    """It runs where a project may have a package called `toolkit`."""
    ended = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            START.partition("scratch, asked")[0] + "print('toolkit' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert ended.stdout.strip() == "False"
