"""Manual migrations: real Alembic revisions, run up and down over rows.

The revisions are the files of `migrations/shop`; each says what it locks, and for how long, on
PostgreSQL, MySQL and SQLite. They are what autogenerate cannot write: an index without stopping
writers, NOT NULL and a foreign key in steps, a rename and type changes that two versions of the
application live through, enum values, backfills that resume, a merge of branches.
`migrations/squashed` has them all in one.

This file runs them by `alembic.command` in a directory made of the templates `env.py`,
`alembic.ini` and `script.py.mako`, and writes rows in between as the old and the new application
would. It costs a connection for each command, and some seconds in all. Tables and version
table are its own (`shop_...`) and gone afterwards.

    python examples/migration_examples.py [DATABASE_URL]
"""

import argparse
import asyncio
import io
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

import _setup  # noqa: F401 - the templates on the import path
from database_url import ConfigurationError
from session_manager import DatabaseConfig, DatabaseSessionManager

T = TypeVar("T")
HERE = Path(__file__).resolve().parent
TEMPLATES = HERE.parent / "templates"
SHOP = HERE / "migrations" / "shop"
SQUASHED = HERE / "migrations" / "squashed"
VERSION_TABLE = "shop_version"
TABLES = ("shop_line", "shop_order", "shop_customer", VERSION_TABLE)

# A project

SETTINGS = """
MODEL_MODULES: tuple[str, ...] = ()
UNMANAGED_TABLES: tuple[str, ...] = ()
DIALECTS: tuple[str, ...] = ()


def load_metadata() -> MetaData:
    return MetaData()


def database_url() -> str:
    return str(context.config.attributes.get("url") or os.environ["DATABASE_URL"])


"""


def make_project(folder: Path, url: str, history: Path = SHOP) -> Config:
    """Write a directory for Alembic with the revisions of `history`; see `open_project`."""
    versions = folder / "alembic" / "versions"
    versions.mkdir(parents=True)
    for file in history.glob("*.py"):
        shutil.copy(file, versions)
    shutil.copy(TEMPLATES / "alembic.ini", folder)
    shutil.copy(TEMPLATES / "script.py.mako", folder / "alembic")
    env = (TEMPLATES / "env.py").read_text()
    begin = "# -- project settings (setup-alembic.sh writes this block) --\n"
    end = "# -- end of project settings --\n"
    before, _, rest = env.partition(begin)
    env = before + begin + SETTINGS + end + rest.partition(end)[2]
    # The one change outside of the settings: this version table is not the database's own.
    option = '"include_object": include_object,'
    assert env.count(option) == 1
    env = env.replace(option, f'{option} "version_table": "{VERSION_TABLE}",')
    (folder / "alembic" / "env.py").write_text(env)
    return open_project(folder, url)


def open_project(folder: Path, url: str) -> Config:
    """The configuration that `alembic.command` takes. The URL is not written to a file."""
    config = Config(folder / "alembic.ini", stdout=io.StringIO())
    config.attributes["url"] = url
    return config


# A database


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements in one transaction; the rows of the last. Not inside an event loop."""

    async def run(connection: AsyncConnection) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            result = await connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
        return rows

    return asyncio.run(_on(url, run))


def schema(url: str) -> dict[str, Any]:
    """Tables, columns, constraints and indexes, comparable with those of another database."""
    return asyncio.run(_on(url, lambda connection: connection.run_sync(_reflect)))


def remove(url: str) -> None:
    """Drop everything that a run leaves when it is interrupted."""
    asyncio.run(_on(url, lambda connection: connection.run_sync(_drop)))


async def _on(url: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async with (
        DatabaseSessionManager(DatabaseConfig(url)) as database,
        database.engine.begin() as connection,
    ):
        return await work(connection)


def _reflect(connection: Connection) -> dict[str, Any]:
    inspector = inspect(connection)
    checks = connection.dialect.name == "sqlite"  # MariaDB has one of its own for JSON
    found: dict[str, Any] = {}
    tables = sorted(set(inspector.get_table_names()) & set(TABLES) - {VERSION_TABLE})
    # Of all tables at once: a question for each table takes several times as long.
    all_columns, all_keys, all_foreign_keys, all_indexes = (
        inspector.get_multi_columns(filter_names=tables),
        inspector.get_multi_pk_constraint(filter_names=tables),
        inspector.get_multi_foreign_keys(filter_names=tables),
        inspector.get_multi_indexes(filter_names=tables),
    )
    for table in tables:
        at = (None, table)
        found[table] = {
            "columns": sorted(
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in all_columns[at]
            ),
            "primary key": all_keys[at]["constrained_columns"],
            "foreign keys": sorted(
                (key["name"], key["constrained_columns"], key["referred_table"], key["options"])
                for key in all_foreign_keys[at]
            ),
            "indexes": sorted(
                (str(index["name"]), index["column_names"], index["unique"])
                for index in all_indexes[at]
            ),
            "checks": sorted(
                (str(check["name"]), check["sqltext"])
                for check in (inspector.get_check_constraints(table) if checks else [])
            ),
        }
    return found


def _drop(connection: Connection) -> None:
    present = inspect(connection).get_table_names()
    for table in TABLES:
        if table in present:
            connection.execute(text(f"DROP TABLE {table}"))
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP TYPE IF EXISTS shop_state"))
        for function in ("shop_customer_names", "shop_order_total", "shop_order_typed"):
            connection.execute(text(f"DROP FUNCTION IF EXISTS {function}()"))


# What the applications do in between: statements after a revision; what is shown of them.

SCENES: dict[str, tuple[Sequence[str], str]] = {
    "shop": (
        (
            "INSERT INTO shop_customer (name, email) VALUES ('Ada', 'ada@example.com'), "
            "('Bob', NULL), ('Cleo', NULL)",
            "INSERT INTO shop_order (customer_id, total_cents, status, details) VALUES "
            "(1, 1999, 'paid', '{\"gift\": true}'), (2, 500, 'new', NULL), "
            "(99, 250, 'returned', NULL)",
            "INSERT INTO shop_line (order_id, product) VALUES (1, 'tea'), (2, 'cup'), "
            "(3, 'pot'), (1, 'mug')",
        ),
        "SELECT name, email FROM shop_customer ORDER BY id",
    ),
    "email_backfill": ((), "SELECT email FROM shop_customer ORDER BY id"),
    "full_name_expand": (
        (
            "INSERT INTO shop_customer (email, name) VALUES ('dora@example.com', 'Dora')",
            "INSERT INTO shop_customer (email, full_name) VALUES ('emil@example.com', 'Emil')",
            "UPDATE shop_customer SET name = 'Dora D.' WHERE name = 'Dora'",
            "UPDATE shop_customer SET full_name = 'Emil E.' WHERE full_name = 'Emil'",
        ),
        "SELECT name, full_name FROM shop_customer ORDER BY id",
    ),
    "full_name_backfill": ((), "SELECT name, full_name FROM shop_customer ORDER BY id"),
    "bigint_expand": (
        ("INSERT INTO shop_order (customer_id, total_cents) VALUES (1, 100)",),
        "SELECT id, total_cents FROM shop_order ORDER BY id",
    ),
    "bigint_swap": (
        ("UPDATE shop_order SET total_cents = 3000000000 WHERE total_cents = 100",),
        "SELECT id, total_cents FROM shop_order ORDER BY id",
    ),
    "typed_expand": (
        (
            "INSERT INTO shop_order (customer_id, total_cents) VALUES (1, 50)",
            "INSERT INTO shop_order (customer_id, total_cents, state) VALUES (1, 60, 'paid')",
            "UPDATE shop_order SET status = 'paid' WHERE total_cents = 50",
            "UPDATE shop_order SET state = 'returned', attributes = '{\"gift\": false}' "
            "WHERE total_cents = 60",
        ),
        "SELECT id, status, state, details FROM shop_order ORDER BY id",
    ),
    "typed_backfill": ((), "SELECT id, status, state FROM shop_order ORDER BY id"),
    "state_refunded": (
        ("UPDATE shop_order SET state = 'refunded' WHERE total_cents = 60",),
        "SELECT id, state FROM shop_order ORDER BY id",
    ),
    "state_returned_removed": ((), "SELECT id, state FROM shop_order ORDER BY id"),
    "orphan_orders": (
        (),
        "SELECT o.id, c.full_name FROM shop_order o "
        "JOIN shop_customer c ON c.id = o.customer_id ORDER BY o.id",
    ),
}
COUNTS = (
    "SELECT (SELECT count(*) FROM shop_customer), (SELECT count(*) FROM shop_order), "
    "(SELECT count(*) FROM shop_line)"
)


def play(url: str, revision: str) -> list[tuple[Any, ...]]:
    """Do what the applications do after this revision; the rows that show it."""
    statements, query = SCENES[revision]
    return execute(url, *statements, query)


def revisions(config: Config) -> list[tuple[str, str]]:
    """Id and title of each revision, in the order of their application."""
    script = ScriptDirectory.from_config(config)
    return [(item.revision, item.doc) for item in reversed(list(script.walk_revisions()))]


# The run


def up(config: Config, url: str) -> None:
    """Each revision by itself, and what the applications see then."""
    for revision, title in revisions(config):
        command.upgrade(config, revision)
        print(f"{revision:24} {title}")
        if revision in SCENES:
            for row in play(url, revision):
                print(" " * 25 + "  ".join(str(value) for value in row))


def down_and_up(config: Config, url: str) -> None:
    """Back to the first tables and to the head again: no row is lost."""
    # What an integer cannot hold would stop the way back of bigint_swap.
    execute(url, "UPDATE shop_order SET total_cents = 100 WHERE total_cents > 2147483647")
    before = execute(url, COUNTS)
    command.downgrade(config, "shop")
    assert execute(url, COUNTS) == before
    command.upgrade(config, "head")
    assert execute(url, COUNTS) == before
    customers, orders, lines = before[0]
    print(f"down and up again: {customers} customers, {orders} orders, {lines} lines, as before")


def squash(folder: Path, config: Config, url: str) -> None:
    """One file for the whole history: an old database and a new one end at the same head."""
    squashed = make_project(folder, url, SQUASHED)
    migrated = schema(url)
    rows = execute(url, COUNTS)
    command.upgrade(squashed, "head")
    assert (schema(url), execute(url, COUNTS)) == (migrated, rows)
    print("squashed, a database that exists: nothing to do")
    command.downgrade(config, "base")
    command.upgrade(squashed, "head")
    difference = "none" if schema(url) == migrated else "SOME"
    print(f"squashed, a new database: 1 revision, differences between the two: {difference}")
    command.downgrade(squashed, "base")


def main(url: str) -> None:
    present = _tables(url)
    if present:
        sys.exit(f"error: the database has tables already: {', '.join(present)}")
    with tempfile.TemporaryDirectory() as folder:
        config = make_project(Path(folder, "history"), url)
        try:
            up(config, url)
            down_and_up(config, url)
            squash(Path(folder, "squashed"), config, url)
        finally:
            remove(url)


def _tables(url: str) -> list[str]:
    async def names(connection: AsyncConnection) -> list[str]:
        return await connection.run_sync(lambda sync: inspect(sync).get_table_names())

    try:
        return sorted(set(asyncio.run(_on(url, names))) & set(TABLES))
    except ConfigurationError as error:
        sys.exit(f"error: {error}")
    except (OSError, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        sys.exit(f"error: the database cannot be used: {reason}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("url", nargs="?", metavar="DATABASE_URL")
    with tempfile.TemporaryDirectory() as own:
        main(parser.parse_args().url or f"sqlite+aiosqlite:///{own}/example.db")
