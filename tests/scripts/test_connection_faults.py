"""Planted faults, each on a real server: does test-connection.sh name the layer that is broken?"""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest
import sqlalchemy

from projects.connection_bench import (
    READ,
    Bench,
    Run,
    call,
    firewalled,
    listener,
    module_that_is_missing,
)
from servers import mysql, pgbouncer, private
from servers.postgres import wait_for
from toolkit.connection import timing
from toolkit.report.exits import Exit

Plant = Callable[[Bench], Iterator[Run]]
NEEDS: dict[str, Callable[[Bench], bool]] = {
    "PgBouncer": lambda bench: pgbouncer.program() is not None,
    "a PostgreSQL with TLS": lambda bench: bench.has_tls,
    "MariaDB or MySQL": lambda bench: mysql.find("mariadbd", "mysqld") is not None,
}


@dataclass(frozen=True)
class Planted:
    """Something wrong (or right: `code` OK) and what has to be said of it."""

    name: str
    layer: str
    code: Exit
    plant: Plant
    needs: str | None = None
    says: str = ""
    """Words that the message, the evidence or the next command have to hold."""


# What is found before SQLAlchemy connects is found alike with each (#10).
BEFORE_SQLALCHEMY = {"source", "url", "name", "network", "tls"}
IS_OLDER = sqlalchemy.__version__.startswith("2.0.")
FAULTS: list[Planted] = []
HEALTHY: list[Planted] = []


def fault(
    name: str, layer: str, code: Exit, *, needs: str | None = None, says: str = ""
) -> Callable[[Plant], Plant]:
    def note(plant: Plant) -> Plant:
        FAULTS.append(Planted(name, layer, code, plant, needs, says))
        return plant

    return note


def healthy(name: str, *, needs: str | None = None, says: str = "") -> Callable[[Plant], Plant]:
    def note(plant: Plant) -> Plant:
        HEALTHY.append(Planted(name, "", Exit.OK, plant, needs, says))
        return plant

    return note


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("my bench"))
    yield made
    made.close()


def without(bench: Bench, planted: Planted) -> str | None:
    """Why this one cannot be planted on this machine."""
    if planted.needs is None or NEEDS[planted.needs](bench):
        return None
    return f"not planted without {planted.needs}"


def test_planted_faults(bench: Bench, show_at_the_end: Callable[[str], None]) -> None:
    """The table: fault, the layer that is right, the layer that was named."""
    lines, wrong, left_out = [], [], []
    assert bench.stuck  # now, as they have to be old
    for planted in FAULTS:
        if why := without(bench, planted):
            left_out.append(f"{planted.name} ({why})")
            continue
        if IS_OLDER and planted.layer in BEFORE_SQLALCHEMY:
            continue
        with contextlib.contextmanager(planted.plant)(bench) as run:
            ended = call(run, bench.empty, "--json")
        try:
            document = ended.document
        except ValueError:
            document = {"layer": None, "message": ended.out + ended.err, "steps": [], "next": None}
        named = document["layer"]
        text = f"{document['message']} {document['next']}" + "".join(
            line for step in document["steps"] for line in step["evidence"]
        )
        right = (named, ended.code) == (planted.layer, planted.code) and planted.says in text
        right = right and bool(document["next"])
        lines.append(f"{planted.name:<58}{planted.layer:<12}{named or '-':<12}{ended.code:>4}")
        if not right:
            wrong.append(f"{planted.name}: {named} {ended.code}: {text} {ended.err[-2000:]}")
    done = len(lines)
    head = f"{'planted fault':<58}{'layer':<12}{'named':<12}{'exit':>4}"
    total = f"{done} planted faults: right layer {done - len(wrong)} of {done}"
    show_at_the_end("\n".join([head, *lines, total, *(f"LEFT OUT: {one}" for one in left_out)]))
    assert not wrong, "\n".join(wrong)
    assert done >= 30
    assert not (left_out and os.environ.get("REQUIRE_SYSTEM_DEPS") == "1"), left_out


def test_healthy_set_ups(
    bench: Bench, show_at_the_end: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No false alarm: exit 0, and not even a warning; how slow a busy machine is, is not asked."""
    monkeypatch.setattr(timing, "SLOW_QUERY", 60_000.0)
    alarms, left_out, done = [], [], 0
    for planted in HEALTHY:
        if why := without(bench, planted):
            left_out.append(f"{planted.name} ({why})")
            continue
        done += 1
        with contextlib.contextmanager(planted.plant)(bench) as run:
            ended = call(run, bench.empty, "--strict")
        if ended.code != 0 or planted.says not in ended.out:
            alarms.append(f"{planted.name}: {ended.code}\n{ended.out}{ended.err}")
    lines = [f"{done} healthy set-ups: {len(alarms)} false alarms"]
    show_at_the_end("\n".join([*lines, *(f"LEFT OUT: {one}" for one in left_out)]))
    assert not alarms, "\n".join(alarms)
    assert not (left_out and os.environ.get("REQUIRE_SYSTEM_DEPS") == "1"), left_out


# Where the URL comes from


@fault("the variable is not set", "source", Exit.URL, says="not set")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(None)


@fault("the project's variable is not set", "source", Exit.URL, says="DATABASE_URL")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(None, cwd=bench.shop().root, by_name=False)


@fault("the project names two databases", "source", Exit.AMBIGUOUS, says="--url-from env:")
def _(bench: Bench) -> Iterator[Run]:
    text = 'ONE = os.environ["ORDERS_DATABASE_URL"]\nTWO = os.environ["USERS_DATABASE_URL"]\n'
    shop = bench.shop(more="import os\n\n" + text)
    urls = {
        f"{name}_DATABASE_URL": f"postgresql+asyncpg://{name.lower()}@127.0.0.1:1/{name.lower()}"
        for name in ("ORDERS", "USERS")
    }
    yield Run(None, cwd=shop.root, by_name=False, environment=urls)


# Scheme and driver


@fault("wrong scheme: postgres://", "driver", Exit.URL, says="postgresql+asyncpg://")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(drivername="postgres"))


@fault("wrong scheme: a misspelled driver", "driver", Exit.URL, says="asynpg")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(drivername="postgresql+asynpg"))


@fault("wrong scheme: no SQL database", "driver", Exit.URL)
def _(bench: Bench) -> Iterator[Run]:
    yield Run(f"mongodb://app:{private.PASSWORD[:5]}x@127.0.0.1/shop")


@fault("a synchronous driver in create_async_engine", "driver", Exit.URL, says="psycopg2")
def _(bench: Bench) -> Iterator[Run]:
    shop = bench.engine_project()
    url = bench.url(drivername="postgresql+psycopg2")
    yield Run(url, cwd=shop.root, variable="DATABASE_URL", by_name=False)


@fault("missing driver", "driver", Exit.MISSING_DEPENDENCY, says="asyncmy")
def _(bench: Bench) -> Iterator[Run]:
    yield Run("mysql+asyncmy://app@127.0.0.1/shop")


@fault("missing greenlet", "driver", Exit.MISSING_DEPENDENCY, says="sqlalchemy[asyncio]")
def _(bench: Bench) -> Iterator[Run]:
    with module_that_is_missing("greenlet") as environment:
        yield Run(bench.url(), environment=environment, apart=True)


# The URL itself


@fault("bad quoting: an @ in the password", "url", Exit.URL, says="%40")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(f"postgresql+asyncpg://app:{private.PASSWORD}@127.0.0.1@127.0.0.1:1/shop")


@fault("bad quoting: cut off at a # in the password", "url", Exit.URL, says="%23")
def _(bench: Bench) -> Iterator[Run]:
    yield Run("postgresql+asyncpg://app:s3cr")


@fault("bad quoting: a % that quotes nothing", "url", Exit.URL, says="%25")
def _(bench: Bench) -> Iterator[Run]:
    yield Run("postgresql+asyncpg://app:s3cr%affe@127.0.0.1/shop")


@fault("a port that is no number", "url", Exit.URL)
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url().replace(f":{bench.pg.port}/", ":port/"))


@fault("sslmode in create_async_engine with asyncpg", "url", Exit.URL, says="'ssl': 'prefer'")
def _(bench: Bench) -> Iterator[Run]:
    shop = bench.engine_project()
    url = bench.url(query={"sslmode": "prefer"})
    yield Run(url, cwd=shop.root, variable="DATABASE_URL", by_name=False)


@fault("MySQL's ssl-mode in create_async_engine", "url", Exit.URL, says="ssl-mode")
def _(bench: Bench) -> Iterator[Run]:
    shop = bench.engine_project()
    url = "mysql+aiomysql://app@127.0.0.1:1/shop?ssl-mode=REQUIRED"
    yield Run(url, cwd=shop.root, variable="DATABASE_URL", by_name=False)


@fault("a misspelled parameter", "url", Exit.URL, says="sslmde")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(query={"sslmde": "require"}))


# The way to the server


@fault("no such host", "name", Exit.NAME, says="no-such-host.invalid")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(host="no-such-host.invalid"), ("--timeout", "5"))


@fault("refused: nothing listens", "network", Exit.NETWORK, says="Nothing listens")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(port=private.free_port()))


@fault("a firewalled port that never answers", "network", Exit.NETWORK, says="firewall")
def _(bench: Bench) -> Iterator[Run]:
    with firewalled() as port:
        yield Run(bench.url(port=port), ("--timeout", "2"))


@fault("port of another protocol: HTTP", "network", Exit.NETWORK, says="HTTP listens")
def _(bench: Bench) -> Iterator[Run]:
    with listener(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n") as port:
        yield Run(bench.url(port=port))


@fault("port of another protocol: SSH, for MySQL", "network", Exit.NETWORK, says="SSH listens")
def _(bench: Bench) -> Iterator[Run]:
    with listener(b"SSH-2.0-OpenSSH_9.2\r\n", speaks_first=True) as port:
        yield Run(f"mysql+aiomysql://app@127.0.0.1:{port}/shop")


@fault("a port that accepts and says nothing", "network", Exit.NETWORK, says="says nothing")
def _(bench: Bench) -> Iterator[Run]:
    with listener(None) as port:
        yield Run(bench.url(port=port), ("--timeout", "2"))


@fault(
    "PostgreSQL's URL with MySQL's port",
    "network",
    Exit.NETWORK,
    needs="MariaDB or MySQL",
    says="MySQL listens",
)
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(port=bench.my.port))


@fault("MySQL's URL with PostgreSQL's port", "network", Exit.NETWORK, says="PostgreSQL listens")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(f"mysql+aiomysql://app@127.0.0.1:{bench.pg.port}/shop")


@fault("no such Unix socket", "network", Exit.NETWORK, says=".s.PGSQL.5432")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(f"postgresql+asyncpg://app@/shop?host={bench.empty}")


# TLS


@fault("TLS required by the client, not offered", "tls", Exit.TLS, says="offers none")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(query={"sslmode": "require"}))


@fault(
    "TLS required by the server, refused by the client",
    "tls",
    Exit.TLS,
    needs="a PostgreSQL with TLS",
    says="demands TLS",
)
def _(bench: Bench) -> Iterator[Run]:
    role = bench.role()
    with bench.tls(), bench.rule(f"hostnossl all {role} 127.0.0.1/32 reject"):
        yield Run(bench.url(username=role, query={"sslmode": "disable"}))


@fault(
    "TLS certificate expired (verify-full)",
    "tls",
    Exit.TLS,
    needs="a PostgreSQL with TLS",
    says="expired on",
)
def _(bench: Bench) -> Iterator[Run]:
    with bench.tls(days=-1) as root:
        query = {"sslmode": "verify-full", "sslrootcert": str(root)}
        yield Run(bench.url(query=query))


@fault(
    "TLS certificate expired (require)",
    "tls",
    Exit.TLS,
    needs="a PostgreSQL with TLS",
    says="expired on",
)
def _(bench: Bench) -> Iterator[Run]:
    with bench.tls(days=-1):
        yield Run(bench.url(driver="psycopg", query={"sslmode": "require"}))


@fault(
    "TLS certificate for another host",
    "tls",
    Exit.TLS,
    needs="a PostgreSQL with TLS",
    says="not valid for '127.0.0.1'",
)
def _(bench: Bench) -> Iterator[Run]:
    with bench.tls(alternative="DNS:db.example.com") as root:
        query = {"sslmode": "verify-full", "sslrootcert": str(root)}
        yield Run(bench.url(query=query))


@fault(
    "TLS certificate of an unknown authority",
    "tls",
    Exit.TLS,
    needs="a PostgreSQL with TLS",
    says="does not verify",
)
def _(bench: Bench) -> Iterator[Run]:
    with bench.tls():
        query = {"sslmode": "verify-ca", "sslrootcert": "system"}
        yield Run(bench.url(query=query))


@fault("TLS required by MariaDB", "tls", Exit.TLS, needs="MariaDB or MySQL", says="demands TLS")
def _(bench: Bench) -> Iterator[Run]:
    with bench.my_global("require_secure_transport", "ON"):
        yield Run(bench.my_url())


# Login


@fault("bad password", "login", Exit.LOGIN, says="password is wrong")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(password="wrong" + private.PASSWORD))


@fault("bad password, psycopg", "login", Exit.LOGIN, says="password is wrong")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(driver="psycopg", password="wrong" + private.PASSWORD))


@fault("bad password, MariaDB", "login", Exit.LOGIN, needs="MariaDB or MySQL", says="1045")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.my_url(password="wrong" + private.PASSWORD))


@fault("missing role", "login", Exit.LOGIN, says="nobody_here")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(username="nobody_here"))


@fault("a role that may not log in", "login", Exit.LOGIN, says="not permitted to log in")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(username=bench.role("NOLOGIN")))


# Database


@fault("missing database, a similar name is there", "database", Exit.DATABASE, says="names on")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url("shopp"))


@fault("missing database, psycopg", "database", Exit.DATABASE, says="shop")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url("shopp", "psycopg"))


@fault(
    "missing database, MariaDB", "database", Exit.DATABASE, needs="MariaDB or MySQL", says="shop"
)
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.my_url("shopp"))


# Server


@fault("read-only replica", "server", Exit.SERVER, says="standby")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(port=bench.standby.port))


@fault("read-only by default_transaction_read_only", "server", Exit.SERVER, says="read-only")
def _(bench: Bench) -> Iterator[Run]:
    role = bench.role("LOGIN SUPERUSER")
    bench.pg.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    yield Run(bench.url(username=role))


@fault("wrong time zone", "server", Exit.SERVER, says="Europe/Berlin, not UTC")
def _(bench: Bench) -> Iterator[Run]:
    database = bench.database()
    bench.pg.execute(f"ALTER DATABASE {database} SET timezone = 'Europe/Berlin'")
    yield Run(bench.url(database))


@fault("an encoding that does not hold every text", "server", Exit.SERVER, says="LATIN1")
def _(bench: Bench) -> Iterator[Run]:
    options = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    yield Run(bench.url(bench.database(options)))


@fault("read-only MariaDB", "server", Exit.SERVER, needs="MariaDB or MySQL", says="read_only")
def _(bench: Bench) -> Iterator[Run]:
    with bench.my_global("read_only", "1"):
        yield Run(bench.my_url())


@fault("wrong time zone, MariaDB", "server", Exit.SERVER, needs="MariaDB or MySQL", says="+02:00")
def _(bench: Bench) -> Iterator[Run]:
    with bench.my_global("time_zone", "'+02:00'"):
        yield Run(bench.my_url())


@fault("latin1 for new tables, MariaDB", "server", Exit.SERVER, needs="MariaDB or MySQL")
def _(bench: Bench) -> Iterator[Run]:
    bench.my.execute("CREATE DATABASE latin CHARACTER SET latin1")
    yield Run(bench.my_url("latin"))


# Privileges


@fault("no CONNECT", "privileges", Exit.PRIVILEGE, says="GRANT CONNECT")
def _(bench: Bench) -> Iterator[Run]:
    database = bench.database()
    bench.pg.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    yield Run(bench.url(database, username=bench.role()))


@fault("no CONNECT, psycopg", "privileges", Exit.PRIVILEGE, says="GRANT CONNECT")
def _(bench: Bench) -> Iterator[Run]:
    database = bench.database()
    bench.pg.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    yield Run(bench.url(database, "psycopg", username=bench.role()))


@fault("no USAGE on the schema", "privileges", Exit.PRIVILEGE, says="GRANT USAGE")
def _(bench: Bench) -> Iterator[Run]:
    database = bench.database()
    bench.pg.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC", database)
    yield Run(bench.url(database, username=bench.role()))


@fault("no right on any table", "privileges", Exit.PRIVILEGE, says="GRANT SELECT")
def _(bench: Bench) -> Iterator[Run]:
    database = bench.database()
    bench.pg.execute("CREATE TABLE users (id int)", database)
    yield Run(bench.url(database, username=bench.role()))


@fault("alembic_version is not readable", "privileges", Exit.PRIVILEGE, says="alembic_version")
def _(bench: Bench) -> Iterator[Run]:
    database, role = bench.database(), bench.role()
    bench.pg.execute("CREATE TABLE alembic_version (version_num text)", database)
    bench.pg.execute("CREATE TABLE users (id int)", database)
    bench.pg.execute(f"GRANT ALL ON users TO {role}", database)
    yield Run(bench.url(database, username=role))


@fault("no right on the database, MariaDB", "privileges", Exit.PRIVILEGE, needs="MariaDB or MySQL")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.my_url(username=bench.account("USAGE ON *.*")))


# Pooler


@fault(
    "PgBouncer in transaction mode",
    "pooler",
    Exit.POOLER,
    needs="PgBouncer",
    says='"statement_cache_size": 0',
)
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.bouncer.url("shop"), whole=True)


@fault(
    "PgBouncer in transaction mode, psycopg",
    "pooler",
    Exit.POOLER,
    needs="PgBouncer",
    says='"prepare_threshold": None',
)
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.bouncer.url("shop", "psycopg"), whole=True)


@fault(
    "PgBouncer and a setting at connect",
    "pooler",
    Exit.POOLER,
    needs="PgBouncer",
    says="statement_timeout",
)
def _(bench: Bench) -> Iterator[Run]:
    settings = '{"server_settings": {"statement_timeout": "9000"}, "statement_cache_size": 0}'
    shop = bench.engine_project(f", connect_args={settings}")
    yield Run(bench.bouncer.url("shop"), cwd=shop.root, variable="DATABASE_URL", by_name=False)


@fault("PgBouncer without a server behind it", "pooler", Exit.POOLER, needs="PgBouncer")
def _(bench: Bench) -> Iterator[Run]:
    nowhere = private.free_port()
    with pgbouncer.running_pgbouncer(bench.pg, server_port=nowhere, patience=1) as bouncer:
        yield Run(bouncer.url("shop"))


# Capacity


@fault("too many connections for the role", "head-room", Exit.CAPACITY, says="too many connections")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(username=bench.role("LOGIN CONNECTION LIMIT 0")))


@fault("too many connections for the database, psycopg", "head-room", Exit.CAPACITY)
def _(bench: Bench) -> Iterator[Run]:
    database = bench.database("CONNECTION LIMIT 0")
    yield Run(bench.url(database, "psycopg", username=bench.role()))


@fault("too many connections, MariaDB", "head-room", Exit.CAPACITY, needs="MariaDB or MySQL")
def _(bench: Bench) -> Iterator[Run]:
    account = bench.account("USAGE ON *.*")
    url = bench.my.admin.set(username=account)
    options = {
        "host": url.host,
        "port": url.port,
        "user": account,
        "password": private.PASSWORD,
        "ssl_disabled": True,
    }
    with contextlib.ExitStack() as held, bench.my_global("max_connections", "10"):
        for _ in range(20):
            with contextlib.suppress(pymysql.err.OperationalError):
                connection = pymysql.connect(**options)
                held.callback(connection.close)
        yield Run(bench.my_url(username=account))
        held.close()


@fault("workers x pool exceed the server", "head-room", Exit.CAPACITY, says="20 x (5 + 10) = 300")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(), ("--workers", "20"))


@fault("the project's pool exceeds the role's limit", "head-room", Exit.CAPACITY, says="= 40")
def _(bench: Bench) -> Iterator[Run]:
    shop = bench.engine_project(", pool_size=30, max_overflow=10")
    url = bench.url(username=bench.role("LOGIN CONNECTION LIMIT 25"))
    yield Run(url, cwd=shop.root, variable="DATABASE_URL", by_name=False)


@fault("connections left in open transactions", "head-room", Exit.CAPACITY, says="not given back")
def _(bench: Bench) -> Iterator[Run]:
    since = "SELECT bool_and(now() - state_change > interval '10.2 s') FROM pg_stat_activity"
    wait_for(f"{since} WHERE usename = '{bench.stuck}'", bench.pg, "shop", seconds=20)
    yield Run(bench.url(username=bench.stuck), ("--pool-size", "2", "--max-overflow", "1"))


# Revision


def migrated(bench: Bench, *revisions: str) -> tuple[Path, str]:
    """A project with two revisions, and a database at `revisions`."""
    shop = bench.shop()
    shop.add_revision("0001", None)
    shop.add_revision("0002", "0001")
    database = bench.database()
    if revisions:
        bench.pg.execute("CREATE TABLE alembic_version (version_num varchar(32))", database)
        for revision in revisions:
            bench.pg.execute(f"INSERT INTO alembic_version VALUES ('{revision}')", database)
    return shop.root, bench.url(database)


@fault("stale revision", "revision", Exit.REVISION, says="1 revision behind")
def _(bench: Bench) -> Iterator[Run]:
    root, url = migrated(bench, "0001")
    yield Run(url, cwd=root, variable="DATABASE_URL", by_name=False)


@fault("never migrated", "revision", Exit.REVISION, says="alembic upgrade head")
def _(bench: Bench) -> Iterator[Run]:
    root, url = migrated(bench)
    yield Run(url, ("--project", str(root)))


@pytest.mark.any_sqlalchemy
def test_the_command_for_the_revision_is_right_where_it_is_read(bench: Bench) -> None:
    """Its folder and its ini have names with a space; carried out, it mends what it is about."""
    root, url = migrated(bench)
    (root / "alembic.ini").rename(root / "my alembic.ini")
    run = Run(url, ("--project", str(root), "--ini", str(root / "my alembic.ini"), "--json"))
    ended = call(run, bench.empty)
    assert (ended.code, ended.document["layer"]) == (Exit.REVISION, "revision"), ended
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DATABASE_URL": url}
    done = subprocess.run(
        ["bash", "-c", ended.document["next"]],
        cwd=bench.empty, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (ended.document["next"], done.stderr)
    again = call(run, bench.empty)
    assert again.code == Exit.OK, again.out


# SQLite


def sqlite(path: Path, **query: str) -> str:
    return f"sqlite+aiosqlite:///{path}" + "".join(f"?{n}={v}" for n, v in query.items())


def filled(bench: Bench, mode: str = "delete") -> Path:
    path = bench.file()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE users (id integer PRIMARY KEY, name text)")
        connection.executemany("INSERT INTO users (name) VALUES (?)", [("ada" * 50,)] * 200)
        connection.commit()
    return path


@fault("SQLite: missing folder", "database", Exit.DATABASE, says="mkdir -p")
def _(bench: Bench) -> Iterator[Run]:
    folder = bench.folder / "not there"
    yield Run(sqlite(folder / "app.db"))
    assert not folder.exists()


@fault("SQLite: missing file", "database", Exit.DATABASE, says="Start what creates it")
def _(bench: Bench) -> Iterator[Run]:
    path = bench.folder / "missing.db"
    yield Run(sqlite(path))  # there is no Alembic here that could upgrade (#12)
    assert not path.exists()


@fault("SQLite: not a database", "database", Exit.DATABASE, says="not an SQLite database")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(sqlite(bench.file(b"name,email\nada,ada@example.com\n" * 100)))


@fault("SQLite: cut off", "database", Exit.DATABASE, says="damaged")
def _(bench: Bench) -> Iterator[Run]:
    path = filled(bench)
    path.write_bytes(path.read_bytes()[:1000])
    yield Run(sqlite(path))


@fault("SQLite: a folder", "database", Exit.DATABASE, says="is a folder")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(sqlite(bench.empty))


@fault("SQLite: locked", "server", Exit.SERVER, says=f"process {os.getpid()}")
def _(bench: Bench) -> Iterator[Run]:
    yield from locked(filled(bench))


@fault("SQLite: locked in WAL mode", "server", Exit.SERVER, says=f"process {os.getpid()}")
def _(bench: Bench) -> Iterator[Run]:
    yield from locked(filled(bench, "wal"))


def locked(path: Path) -> Iterator[Run]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        # A process does not see its own locks.
        yield Run(sqlite(path), apart=True)


@fault("SQLite: read-only", "server", Exit.SERVER, says="read-only")
def _(bench: Bench) -> Iterator[Run]:
    path = filled(bench)
    if os.geteuid() == 0:
        yield Run(f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true")
        return
    path.chmod(0o444)
    yield Run(sqlite(path))


@fault("SQLite: stale revision", "revision", Exit.REVISION, says="behind")
def _(bench: Bench) -> Iterator[Run]:
    root, _ = migrated(bench)
    path = filled(bench)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
        connection.commit()
    yield Run(sqlite(path), ("--project", str(root)))


# What is in order


@healthy("PostgreSQL, asyncpg", says="20 tasks at once on 10 connections: all answered")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(), whole=True)


@healthy("PostgreSQL, psycopg", says="with psycopg")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(driver="psycopg"))


@healthy("PostgreSQL with TLS, verify-full", needs="a PostgreSQL with TLS", says="verified")
def _(bench: Bench) -> Iterator[Run]:
    with bench.tls() as root:
        query = {"sslmode": "verify-full", "sslrootcert": str(root)}
        yield Run(bench.url(driver="psycopg", query=query))


@healthy("a standby that is meant", says="a standby")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.url(port=bench.standby.port), ("--read-only",))


@healthy("another time zone that is meant", says="Asia/Tokyo")
def _(bench: Bench) -> Iterator[Run]:
    database = bench.database()
    bench.pg.execute(f"ALTER DATABASE {database} SET timezone = 'Asia/Tokyo'")
    yield Run(bench.url(database), ("--time-zone", "Asia/Tokyo"))


@healthy("PgBouncer with asyncpg's cure in the project", needs="PgBouncer", says="is set for it")
def _(bench: Bench) -> Iterator[Run]:
    shop = bench.engine_project(', connect_args={"statement_cache_size": 0}')
    url = bench.bouncer.url("shop")
    yield Run(url, cwd=shop.root, variable="DATABASE_URL", by_name=False, whole=True)


@healthy("PgBouncer with psycopg's cure", needs="PgBouncer", says="transaction mode")
def _(bench: Bench) -> Iterator[Run]:
    more = ("--connect-arg", "prepare_threshold=None")
    yield Run(bench.bouncer.url("shop", "psycopg"), more, whole=True)


@healthy("PgBouncer in session mode", needs="PgBouncer", says="session mode")
def _(bench: Bench) -> Iterator[Run]:
    with pgbouncer.running_pgbouncer(bench.pg, mode="session") as bouncer:
        yield Run(bouncer.url("shop"), ("--pool-size", "3", "--max-overflow", "0"))


@healthy("MariaDB", needs="MariaDB or MySQL", says="MariaDB")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(bench.my_url())


@healthy("SQLite", says="tables")
def _(bench: Bench) -> Iterator[Run]:
    yield Run(sqlite(filled(bench)))


@healthy("SQLite in WAL mode, nobody has it open", says="WAL")
def _(bench: Bench) -> Iterator[Run]:
    path = filled(bench, "wal")
    before = sorted(path.parent.iterdir())
    assert before == [path]
    yield Run(sqlite(path))
    assert sorted(path.parent.iterdir()) == before


@healthy("SQLite in WAL mode, in use", says="WAL")
def _(bench: Bench) -> Iterator[Run]:
    path = filled(bench, "wal")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT count(*) FROM users").fetchall()
        before = sorted(path.parent.iterdir())
        assert len(before) == 3
        yield Run(sqlite(path))
        assert sorted(path.parent.iterdir()) == before


@healthy("SQLite in WAL mode, as a killed program left it", says="WAL")
def _(bench: Bench) -> Iterator[Run]:
    """Whose last close would put the -wal into the file, and remove it."""
    path, left = filled(bench, "wal"), bench.file()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO users (name) VALUES ('grace')")
        connection.commit()
        for end in ("", "-wal", "-shm"):
            copied = path.with_name(path.name + end).read_bytes()
            left.with_name(left.name + end).write_bytes(copied)
    files = [left, left.with_name(left.name + "-wal")]
    before = [file.read_bytes() for file in files]
    yield Run(sqlite(left))
    assert [file.read_bytes() for file in files] == before


@healthy("a project at its head", says="at the head, 0002")
def _(bench: Bench) -> Iterator[Run]:
    root, url = migrated(bench, "0002")
    yield Run(url, cwd=root, variable="DATABASE_URL", by_name=False)


@healthy("a pool that only the engine itself knows", says="pool_size 13 + max_overflow 2")
def _(bench: Bench) -> Iterator[Run]:
    sizes = 'SIZES = {"pool_size": int("1" + "3"), "max_overflow": len("ab")}\n'
    made = 'engine = create_async_engine(os.environ["DATABASE_URL"], **SIZES)\n'
    shop = bench.shop(engine=READ + sizes + made)
    yield Run(bench.url(), cwd=shop.root, variable="DATABASE_URL", by_name=False)


@healthy("a pool that the lifespan makes from settings", says="pool_size 8 + max_overflow 3")
def _(bench: Bench) -> Iterator[Run]:
    """And not the numbers that stand in database_engine.py."""
    templates = Path(__file__).parents[2] / "templates"
    names = ("database_url", "database_engine", "session_manager")
    files = {name: (templates / f"{name}.py").read_text() for name in names}
    files["session_manager"] = files["session_manager"].replace(
        "return DatabaseConfig.from_env()",
        'return DatabaseConfig(__import__("os").environ["DATABASE_URL"], '
        "pool_size=2**3, max_overflow=6 // 2)",
    )
    shop = bench.shop(**files)
    yield Run(bench.url(), cwd=shop.root, variable="DATABASE_URL", by_name=False)


@healthy("a pool of an application that does not import", says="could not be asked (ZeroDivision")
def _(bench: Bench) -> Iterator[Run]:
    made = 'engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=1 // 0)\n'
    shop = bench.shop(engine=READ + made)
    yield Run(bench.url(), cwd=shop.root, variable="DATABASE_URL", by_name=False)


@healthy("a project with database_engine.py and a hosted URL", says="pool_size 7 + max_overflow 5")
def _(bench: Bench) -> Iterator[Run]:
    template = Path(__file__).parents[2] / "templates" / "database_engine.py"
    shop = bench.shop(database_engine=template.read_text())
    url = bench.url(
        drivername="postgres",
        query={"sslmode": "prefer", "connect_timeout": "10", "application_name": "shop"},
    )
    more = {"DATABASE_POOL_SIZE": "7"}
    yield Run(url, cwd=shop.root, variable="DATABASE_URL", by_name=False, environment=more)
