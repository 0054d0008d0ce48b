"""Alembic environment for async SQLAlchemy. Change the block of project settings, nothing else.

It is alembic/env.py; script.py.mako goes beside it, alembic.ini into the folder above. In-process,
also in a running loop: what `await connection.run_sync(upgrade)` gives to `upgrade` goes into
`config.attributes["connection"]`, then `command.upgrade(config, "head")`; its transaction stays the
caller's. Of several `alembic upgrade head` at once one migrates, the others wait, ALEMBIC_LOCK_WAIT
seconds (300). Autogenerate leaves alone what no model means: other schemas, heirs and partitions,
extensions' tables, UNMANAGED_TABLES, views (mapped: `"info": {"is_view": True}`).
"""

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from fnmatch import fnmatchcase
from importlib import import_module
from logging.config import fileConfig
from typing import Any, Literal
from urllib.parse import urlencode

import sqlalchemy as sa
from alembic.autogenerate import api, render
from alembic.operations import ops
from alembic.util import CommandError
from sqlalchemy import URL, MetaData

from alembic import __version__, context  # isort: skip

# -- project settings (setup-alembic.sh writes this block) --
MODEL_MODULES: tuple[str, ...] = ("app.models",)

# Other libraries' tables, which no model has: "apscheduler_jobs", "procrastinate_*".
UNMANAGED_TABLES: tuple[str, ...] = ()

# The databases of this project, for which types and revisions are written.
DIALECTS: tuple[str, ...] = ("sqlite", "postgresql", "mysql", "mariadb")


def load_metadata() -> MetaData | list[MetaData]:
    """The tables that the database should have."""
    metadata: MetaData = import_module("app.db.base_model").Base.metadata
    return metadata


def database_url() -> str | URL | tuple[URL, dict[str, Any]]:
    """Where it is, or that and `connect_args`; with a password, so it is not written to a file."""
    return os.environ["DATABASE_URL"]


# -- end of project settings --

config, LOCK_WAIT = context.config, float(os.environ.get("ALEMBIC_LOCK_WAIT", "300"))
IN_PROCESS, CONNECT_ARGS = config.attributes.get("connection"), dict[str, Any]()
if tuple(map(int, __version__.split(".")[:2])) < (1, 18):
    raise CommandError(f"env.py needs Alembic 1.18 or newer, this is {__version__}")
# Of upgrade, downgrade and stamp, which change the database.
CHANGES = "destination_rev" in context._proxy.context_opts  # type: ignore[attr-defined]
DRIVERS = {  # in order of preference
    "postgresql": ("asyncpg", "psycopg", "psycopg2"),
    "mysql": ("aiomysql", "asyncmy", "pymysql", "mysqldb"),
    "sqlite": ("aiosqlite", "pysqlite"),
}
# Partitions and other heirs, and what an extension has made.
OTHERS = """SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid) OR EXISTS (SELECT FROM pg_depend
WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')"""


def reason(error: Exception) -> str:
    """The error without a password, also in a URL with raw blanks, @ and / in it."""
    text = re.sub(r"(://[^:/@\s]*:).+(?=@)", r"\1***", f"{type(error).__name__}: {error}")
    return re.sub(r"(?i)((?:password|passwd|pwd)\d?=)(?:'[^']*'|[^\s&'\"]+)", r"\1***", text)


def read_url() -> URL:
    """The project's URL, with an installed driver (asynchronous if possible) if it names none."""
    try:
        given = database_url()
    except Exception as error:  # noqa: BLE001 - it is the application's
        raise CommandError(f"the database URL cannot be read: {reason(error)}") from None
    if isinstance(given, tuple) and not isinstance(given, URL):  # as the application connects
        CONNECT_ARGS.update(given[1])
        return given[0]
    url = None
    with suppress(sa.exc.SQLAlchemyError, ValueError):
        url = sa.make_url(given)
    if url is None or "@" in f"{url.host}{url.database}":
        raise CommandError("the database URL cannot be parsed: percent-encode its password")
    scheme = {"postgres": "postgresql", "mariadb": "mysql"}.get(url.drivername, url.drivername)
    for found in (url.set(drivername=f"{scheme}+{name}") for name in DRIVERS.get(scheme, ())):
        with suppress(ImportError):
            import_module("greenlet" if found.get_dialect().is_async else "sqlalchemy")
            found.get_dialect().import_dbapi()
            return found
    if scheme in DRIVERS:
        raise CommandError(f"no driver for {scheme} is installed: one of {DRIVERS[scheme]}")
    return url  # it names its driver


def render_item(kind: str, item: Any, autogen: api.AutogenContext) -> Literal[False]:
    """Import what Alembic writes: an application's type. generate-migration.sh writes its SQL."""
    if kind == "type" and not type(item).__module__.startswith("sqlalchemy."):
        autogen.imports.add(f"import {type(item).__module__}")
    elif "=Text(" in repr(item) and autogen.dialect.name != "postgresql":  # of JSONB
        autogen.imports.add("from sqlalchemy import Text")
    return False


@render.renderers.dispatch_for(ops.ModifyTableOps, replace=True)
def in_batch(autogen: api.AutogenContext, one: ops.ModifyTableOps) -> list[str]:
    """Only what SQLite cannot do itself: a batch loses NOCASE, AUTOINCREMENT, generated columns."""
    kinds = (ops.AlterColumnOp, ops.AddConstraintOp, ops.DropConstraintOp)
    needed = autogen.dialect.name == "sqlite" and any(isinstance(x, kinds) for x in one.ops)
    autogen.opts["render_as_batch"] = needed
    return render._render_modify_table(autogen, one)


def migration_options(dialect: sa.Dialect, connection: sa.Connection | None) -> dict[str, Any]:
    """Everything that `context.configure` is told, online and offline."""
    for module in MODEL_MODULES:
        try:
            import_module(module)
        except Exception as e:  # else the tables that are missing would be dropped
            raise CommandError(f"model module {module!r} does not import: {reason(e)}") from e
    metadatas = given if isinstance(given := load_metadata(), list) else [given]
    schemas = {table.schema for one in metadatas for table in one.tables.values()}
    sqlite, pg, others = dialect.name == "sqlite", dialect.name == "postgresql", set[Any]()

    def include_object(item: Any, name: str, kind: str, seen: bool, other: object) -> bool:
        if kind == "unique_constraint" and pg and not seen:  # and a key
            return set(item.columns) != set(item.table.primary_key.columns)
        if kind != "table":  # `ddl_if(dialect=...)` of another; text, shown as column by all but pg
            wanted = getattr(getattr(item, "_ddl_if", None), "dialect", None) or dialect.name
            whole = pg or kind != "index" or not other or len(item.columns) == len(item.expressions)
            return whole and dialect.name in ([wanted] if isinstance(wanted, str) else wanted)
        if any(fnmatchcase(one, two) for one in (name, item.fullname) for two in UNMANAGED_TABLES):
            return False
        if other is not None or item.info.get("is_view"):
            return other is not None
        if not seen:  # there, and no table: a view, a foreign table
            return not sa.inspect(connection).has_table(name, schema=item.schema)
        if connection is not None and pg and not others:
            others.update(map(tuple, connection.exec_driver_sql(OTHERS)), [("", "")])
        if gone := (item.schema or dialect.default_schema_name, name) not in others:
            config.print_stdout(f"no model has {name}: if others have, name it in UNMANAGED_TABLES")
        return gone

    def revise(_context: object, _revision: object, scripts: list[ops.MigrationScript]) -> None:
        args = context.get_context().opts["revision_context"].command_args
        # `alembic check` comes here too. It writes nothing and needs its script afterwards.
        asked = args["message"] or getattr(config.cmd_opts, "autogenerate", False)
        writes = asked and args["autogenerate"]
        if writes and not schemas:
            raise CommandError("no model has a table: is every model module in MODEL_MODULES?")
        if writes and all(part.is_empty() for one in scripts for part in one.upgrade_ops_list):
            scripts.clear()
            config.print_stdout("No changes between models and database: no revision written.")

    return {
        "connection": connection,
        # Of a list, also of one, Alembic does not take the naming convention for op.*.
        "target_metadata": metadatas[0] if len(metadatas) == 1 else metadatas,
        # A table that no model describes is dropped: look only where models are.
        "include_schemas": bool(schemas - {None}),
        "include_name": lambda name, kind, _: kind != "schema" or name in schemas,
        "include_object": include_object,
        "process_revision_directives": revise,
        "render_item": render_item,
        "render_as_batch": sqlite,
        # SQLite has no lock but the transaction: the version is read and all is done in one.
        "transaction_per_migration": not sqlite,
        "transactional_ddl": True if sqlite else None,
    }


@contextmanager
def migration_lock(connection: sa.Connection) -> Iterator[None]:
    """Let one process at a time change this database. By polling, without a transaction: CREATE
    INDEX CONCURRENTLY waits for others' snapshots, so for ever for one inside pg_advisory_lock."""
    callers, pg = connection.in_transaction(), connection.dialect.name == "postgresql"

    def ask(call: str) -> object:
        answer: object = connection.exec_driver_sql(f"SELECT {call}").scalar()
        if not callers:
            # Else Alembic takes the transaction for the caller's, and all is rolled back silently.
            connection.commit()
        return answer

    if IN_PROCESS is None:
        # A statement that waits for a table makes every later query wait behind it: it gives up
        # soon. CREATE INDEX CONCURRENTLY waits for old transactions: lock_timeout = 0 there.
        connection.exec_driver_sql("SET lock_timeout = '4s'" if pg else "SET lock_wait_timeout = 4")
    # MySQL's lock is the server's; PostgreSQL's belongs to one schema of one database: each has its
    # own alembic_version. Its key is asked for once: a revision may set another search_path.
    if not pg:
        key: object = "CONCAT('alembic_', MD5(DATABASE()))"
        take, give_back = f"GET_LOCK({key}, 0)", f"RELEASE_LOCK({key})"
    else:
        key = ask("hashtext(concat('alembic', nullif(current_schema(), 'public')))")
        take, give_back = f"pg_try_advisory_lock({key})", f"pg_advisory_unlock({key})"
    if pg and callers:
        take, give_back = f"pg_try_advisory_xact_lock({key})", "1"
    elif pg and IN_PROCESS is None:
        me = "pg_backend_pid()"  # which a pooler gives to another one, too, or changes
        with connection.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            pids = [(ask(me), other.exec_driver_sql(f"SELECT {me}").scalar()) for _ in range(9)]
        if len({*pids}) > 1 or len({*pids[0]}) < 2:
            raise CommandError("PgBouncer in transaction mode loses locks: go to PostgreSQL itself")
    tries = int(LOCK_WAIT * 5) + 1
    while not ask(take):
        if not (tries := tries - 1):
            text = f"another process has been migrating this database for {LOCK_WAIT:g} seconds"
            raise CommandError(f"{text}; try again, or wait longer with ALEMBIC_LOCK_WAIT")
        ask("pg_sleep(0.2)" if pg else "SLEEP(0.2)")
    try:
        yield
    finally:
        with suppress(sa.exc.SQLAlchemyError):  # a broken connection has lost its lock already
            if not callers:
                connection.rollback()
            ask(give_back)


@contextmanager
def foreign_keys_off(connection: sa.Connection) -> Iterator[None]:
    """SQLite's batch mode drops the table it rebuilds, and a cascade would empty its children."""
    cursor = connection.connection.cursor()  # SQLAlchemy's own would begin a transaction
    cursor.execute("PRAGMA foreign_keys")
    before = cursor.fetchall()[0][0]  # a transaction of the caller's is deaf to the other value
    enforced = before and getattr(connection.connection.driver_connection, "in_transaction", True)
    cursor.execute("PRAGMA foreign_keys=OFF")

    def refuse_rebuild(_: object, _cursor: object, statement: str, *_rest: object) -> None:
        if enforced and "CREATE TABLE _alembic_tmp_" in statement:
            text = "this revision rebuilds a table while SQLite's foreign keys are enforced"
            raise CommandError(f"{text}: pass a connection without a transaction, or lose rows")

    sa.event.listen(connection, "before_cursor_execute", refuse_rebuild)
    try:
        yield
    finally:
        sa.event.remove(connection, "before_cursor_execute", refuse_rebuild)
        cursor.execute(f"PRAGMA foreign_keys={before}")


def run_migrations(connection: sa.Connection) -> None:
    name = connection.dialect.name
    guard = foreign_keys_off if name == "sqlite" else migration_lock
    with guard(connection) if CHANGES and name in (*DRIVERS, "mariadb") else nullcontext():
        context.configure(**migration_options(connection.dialect, connection))
        with context.begin_transaction():
            context.run_migrations()


def run_on_own_connection(url: URL) -> None:
    """Of an asynchronous driver, too, in a greenlet, as AsyncConnection.run_sync does it."""
    connect: dict[str, Any] = {"timeout": LOCK_WAIT} if "sqlite" in url.drivername else {}
    if url.get_driver_name() == "asyncpg":  # which takes libpq's parameters in a DSN only
        # No cached plans: a revision changes tables that it has read.
        connect = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        own = {name: value for name, value in url.query.items() if name in ("host", "port", "ssl")}
        not_its = {"channel_binding", "gssencmode", *connect, *own}
        libpq = {name: value for name, value in url.query.items() if name not in not_its}
        for name in {"connect_timeout", "timeout"} & {*libpq}:
            connect["timeout"] = float(str(libpq.pop(name)))
        connect["dsn"] = f"postgresql://?{urlencode(libpq, doseq=True)}"
        url = url.set(query=own)
    engine = sa.create_engine(url, connect_args=connect | CONNECT_ARGS, poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":  # whose driver begins at the first INSERT, too late for DDL
        sa.event.listen(engine, "connect", lambda own, _: setattr(own, "isolation_level", None))

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
                connection.exec_driver_sql("BEGIN IMMEDIATE" if CHANGES else "BEGIN")

    with engine.connect() as connection:
        run_migrations(connection)


# From the command line only: an application has set up its logging itself.
if config.cmd_opts is not None and config.file_config.has_section("loggers"):
    fileConfig(str(config.config_file_name), disable_existing_loggers=False)

if context.is_offline_mode():
    url = read_url()
    options = migration_options(url.get_dialect()(), None) | {"literal_binds": True}
    context.configure(url=url, dialect_opts={"paramstyle": "named"}, **options)
    with context.begin_transaction():
        context.run_migrations()
elif IN_PROCESS is not None:
    run_migrations(IN_PROCESS)
elif not (url := read_url()).get_dialect().is_async:
    run_on_own_connection(url)
else:
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise CommandError("an event loop is running: pass a connection in config.attributes")
    asyncio.run(sa.util.greenlet_spawn(run_on_own_connection, url))
