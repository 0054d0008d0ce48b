"""Alembic environment for async SQLAlchemy. Change the block of project settings, nothing else.

In-process, also inside a running loop: in `await connection.run_sync(upgrade)`, put the connection
that `upgrade` is given into `config.attributes["connection"]` and call `command.upgrade(config,
"head")`; transaction and settings stay the caller's. Of several `alembic upgrade head` at once one
migrates, the others wait, at most ALEMBIC_LOCK_WAIT seconds (300). Autogenerate is Alembic's, and
leaves alone what no model means: other schemas, tables of extensions, partitions, inherited and
foreign tables, UNMANAGED_TABLES, and views (a mapped one has `{"info": {"is_view": True}}` in its
`__table_args__`).
"""

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import find_spec
from logging.config import fileConfig
from typing import Any, Literal
from urllib.parse import urlencode

import sqlalchemy as sa
from alembic import __version__, context
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type as render_type
from alembic.operations import ops
from alembic.util import CommandError
from sqlalchemy import URL, MetaData
from sqlalchemy.types import SchemaType, TypeDecorator, TypeEngine
from sqlalchemy.util import greenlet_spawn

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
    """Where the database is, or that and `connect_args`. The URL has a password: it is read, never
    written to a file."""
    return os.environ["DATABASE_URL"]


# -- end of project settings --

config, LOCK_WAIT = context.config, float(os.environ.get("ALEMBIC_LOCK_WAIT", "300"))
IN_PROCESS: sa.Connection | None = config.attributes.get("connection")
CONNECT_ARGS: dict[str, Any] = {}
if tuple(map(int, __version__.split(".")[:2])) < (1, 16):
    raise CommandError(f"env.py needs Alembic 1.16 or newer, this is {__version__}")
# Of upgrade, downgrade and stamp, which change the database.
CHANGES = "destination_rev" in context._proxy.context_opts  # type: ignore[attr-defined]
# A statement that waits for a table makes every later query wait behind it: it gives up soon.
# CREATE INDEX CONCURRENTLY waits for old transactions: its revision sets lock_timeout = 0.
LOCK_TIMEOUTS = {"postgresql": "lock_timeout = '4s'", "mysql": "SESSION lock_wait_timeout = 4"}
# Take, wait, give back. PostgreSQL's lock belongs to one schema of one database (each has its own
# alembic_version, and with a schema a tenant they migrate side by side), MySQL's to the server.
PG = "hashtext(concat('alembic', nullif(current_schema(), 'public')))"
MY = "CONCAT('alembic_', MD5(DATABASE()))"
LOCKS = {
    "postgresql": (f"pg_try_advisory_lock({PG})", "pg_sleep(0.2)", f"pg_advisory_unlock({PG})"),
    "mysql": (f"GET_LOCK({MY}, 0)", "SLEEP(0.2)", f"RELEASE_LOCK({MY})"),
}
LOCKS["mariadb"], LOCK_TIMEOUTS["mariadb"] = LOCKS["mysql"], LOCK_TIMEOUTS["mysql"]
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
        hint = "percent-encode the special characters in its user and password"
        raise CommandError(f"the database URL cannot be parsed: {hint} (urllib.parse.quote)")
    scheme = {"postgres": "postgresql", "mariadb": "mysql"}.get(url.drivername, url.drivername)
    for found in (url.set(drivername=f"{scheme}+{name}") for name in DRIVERS.get(scheme, ())):
        with suppress(ImportError):
            found.get_dialect().import_dbapi()
            if not found.get_dialect().is_async or find_spec("greenlet"):
                return found
    if scheme in DRIVERS:
        raise CommandError(f"no driver for {scheme} is installed: one of {DRIVERS[scheme]}")
    return url  # it names its driver


def engine_arguments(url: URL) -> dict[str, Any]:
    """Arguments for create_engine; asyncpg understands libpq's parameters in a DSN only."""
    connect: dict[str, Any] = {"timeout": LOCK_WAIT} if "sqlite" in url.drivername else {}
    if url.get_driver_name() == "asyncpg":
        # No cached plans: a revision changes tables that it has read.
        connect = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        own = {name: value for name, value in url.query.items() if name in ("host", "port", "ssl")}
        not_its = {"channel_binding", "gssencmode", *connect, *own}
        libpq = {name: value for name, value in url.query.items() if name not in not_its}
        for name in {"connect_timeout", "timeout"} & {*libpq}:
            connect["timeout"] = float(str(libpq.pop(name)))
        if libpq:
            connect["dsn"] = f"postgresql://?{urlencode(libpq, doseq=True)}"
        url = url.set(query=own)
    return {"url": url, "connect_args": connect | CONNECT_ARGS, "poolclass": sa.NullPool}


def in_sql(given: TypeEngine[Any], dialect: sa.Dialect) -> str:
    with suppress(Exception):  # an array on SQLite
        return given.compile(dialect=dialect)
    return ""


def public(given: TypeEngine[Any], dialect: sa.Dialect) -> TypeEngine[Any] | None:
    """The same in SQL, of the most general class that a revision finds in SQLAlchemy."""
    for kind in reversed(type(given).__mro__):
        place = re.match(r"sqlalchemy(\.dialects\.\w+)?", kind.__module__)
        known = place and getattr(import_module(place[0]), kind.__name__, None) is kind
        # An enum is more than its text; a general class may not take the arguments.
        if known and (issubclass(kind, SchemaType) or not isinstance(given, SchemaType)):
            with suppress(Exception):
                found: TypeEngine[Any] = given if type(given) is kind else given.adapt(kind)
                if in_sql(found, dialect) == in_sql(given, dialect):
                    return found
    return None


def render_item(kind: str, item: object, autogen: AutogenContext) -> str | Literal[False]:
    """Write an application's type by what it is in SQL: revisions do not import applications."""
    if kind != "type" or not isinstance(item, TypeEngine):
        return False
    own = [type(part) for part in (item, *item._variant_mapping.values())]
    own = [part for part in own if not part.__module__.startswith("sqlalchemy.")]
    if not own and "=Text(" in repr(item) and type(item).__module__.endswith("postgresql.json"):
        # Alembic writes it right on PostgreSQL only, and this may be SQLite.
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return f"postgresql.{item!r}".replace("=Text(", "=sa.Text(")
    base, variants = None, dict[str, list[str]]()
    for dialect in (sa.make_url(f"{name}://").get_dialect()() for name in DIALECTS if own):
        stored = item._variant_mapping.get(dialect.name, item)
        while isinstance(stored, TypeDecorator):
            stored = stored.type_engine(dialect)
            stored = stored._variant_mapping.get(dialect.name, stored)
        stored = copy(stored)
        stored._variant_mapping = sa.util.EMPTY_DICT  # those of other databases
        found = public(stored, dialect)
        if found is None:  # none of SQLAlchemy's: as Alembic writes it, with its import
            autogen.imports.add(f"import {own[0].__module__}")
            call = repr(item).removeprefix(own[0].__name__)
            return f"{own[0].__module__}.{own[0].__qualname__}{call}"
        base = base or found
        if in_sql(base, dialect) != in_sql(found, dialect):
            variants.setdefault(render_type(found, autogen), []).append(repr(dialect.name))
    written = (f".with_variant({one}, {', '.join(names)})" for one, names in variants.items())
    return render_type(base, autogen) + "".join(written) if base is not None else False


def without_their_indexes(operations: list[Any]) -> list[Any]:
    """A table takes its indexes along; MySQL refuses to drop first what a foreign key needs."""
    dropped = [one for one in operations if isinstance(one, ops.DropTableOp)]
    gone = {(one.schema, one.table_name) for one in dropped}
    for one in (one for one in operations if isinstance(one, ops.ModifyTableOps)):
        if (one.schema, one.table_name) in gone:
            one.ops[:] = [part for part in one.ops if not isinstance(part, ops.DropIndexOp)]
    return [one for one in operations if not isinstance(one, ops.ModifyTableOps) or one.ops]


def without_copy(one: Any, connection: sa.Connection) -> list[Any]:
    """What SQLite itself can drop, outside of the batch: that copies the table, and loses what
    reflection does not see (NOCASE, AUTOINCREMENT, generated columns)."""
    alone = ops.DropColumnOp | ops.AddColumnOp | ops.CreateIndexOp | ops.DropIndexOp
    parts = one.ops if isinstance(one, ops.ModifyTableOps) else [one]
    drops = [part for part in parts if isinstance(part, ops.DropColumnOp)]
    if not drops or not all(isinstance(part, alone) for part in parts):
        return [one]
    there = "SELECT sql FROM sqlite_master WHERE type = 'view' OR tbl_name = ? AND type <> 'index'"
    written = " ".join(connection.exec_driver_sql(there, (one.table_name,)).scalars())
    for column in (part.to_column() for part in drops):
        bound = column.primary_key or column.unique or column.foreign_keys or column.constraints
        named = rf"\b{re.escape(column.name)}\b"  # in a constraint, a view, another column
        more = rf"{named}.*{named}|{named}[^,]*(?:UNIQUE|REFERENCES|KEY|CHECK)"
        if (
            bound
            or getattr(column.type, "create_constraint", False)
            or re.search(more, written, re.DOTALL)
        ):
            return [one]
    rest = [part for part in parts if part not in drops]
    return [*([ops.ModifyTableOps(one.table_name, rest)] if rest else []), *drops]


def migration_options(dialect: sa.Dialect, connection: sa.Connection | None) -> dict[str, Any]:
    """Everything that `context.configure` is told, online and offline."""
    for module in MODEL_MODULES:
        try:
            import_module(module)
        except Exception as error:  # else the tables that are missing would be dropped
            text = f"model module {module!r} does not import: {reason(error)}"
            raise CommandError(text) from error
    metadata = load_metadata()
    metadatas = metadata if isinstance(metadata, list) else [metadata]
    schemas = {table.schema for one in metadatas for table in one.tables.values()}
    sqlite, others = dialect.name == "sqlite", set[tuple[Any, ...]]()

    def include_object(item: sa.Table, name: str, kind: str, seen: bool, other: object) -> bool:
        if kind == "unique_constraint" and not seen and dialect.name == "postgresql":
            key = getattr(item, "table", item).primary_key.columns
            if set(item.columns) == set(key):  # PostgreSQL makes one constraint of the two
                return False
        if kind != "table":  # an index whose `ddl_if(dialect=...)` names another database
            wanted = getattr(getattr(item, "_ddl_if", None), "dialect", None) or dialect.name
            return dialect.name in ([wanted] if isinstance(wanted, str) else wanted)
        names = (name, item.fullname)
        if any(fnmatchcase(one, two) for one in names for two in UNMANAGED_TABLES):
            return False
        if other is not None or item.info.get("is_view"):
            return other is not None
        if not seen:  # there, and no table: a view, a foreign table
            return not sa.inspect(connection).has_table(name, schema=item.schema)
        if connection is not None and dialect.name == "postgresql" and not others:
            others.update(map(tuple, connection.exec_driver_sql(OTHERS)), [("", "")])
        return (item.schema or dialect.default_schema_name, name) not in others

    def revise(_context: object, _revision: object, scripts: list[ops.MigrationScript]) -> None:
        asked = context.get_context().opts["revision_context"].command_args
        # `alembic check` comes here too. It writes nothing and needs its script afterwards.
        writes = asked["message"] or getattr(config.cmd_opts, "autogenerate", False)
        if asked["autogenerate"] and writes and not schemas:
            raise CommandError("no model has a table: is every model module in MODEL_MODULES?")
        parts = [part for script in scripts for part in script.upgrade_ops_list]
        back = [part for script in scripts for part in script.downgrade_ops_list]
        for part in (*parts, *back):
            part.ops[:] = without_their_indexes(part.ops)
            if sqlite:
                assert connection is not None
                part.ops[:] = [two for one in part.ops for two in without_copy(one, connection)]
        for one in (one for part in parts for one in part.ops if isinstance(one, ops.DropTableOp)):
            name = one.table_name
            config.print_stdout(f"no model has {name}: if others have, name it in UNMANAGED_TABLES")
        if asked["autogenerate"] and writes and all(part.is_empty() for part in parts):
            scripts.clear()
            config.print_stdout("No changes between models and database: no revision written.")

    return {
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
    """Let one process at a time change this database.

    By polling, without a transaction while it waits: CREATE INDEX CONCURRENTLY waits for the
    snapshots of others, so for a process that waits inside of `pg_advisory_lock` for ever.
    """
    take, wait, give_back = LOCKS[connection.dialect.name]
    callers = connection.in_transaction()

    def ask(call: str) -> object:
        answer: object = connection.exec_driver_sql(f"SELECT {call}").scalar()
        if not callers:
            # Without this commit, Alembic takes the transaction for the caller's, leaves the
            # commit of the migrations to him, and all is rolled back silently.
            connection.commit()
        return answer

    if "pg" in take:
        key = str(ask(PG))  # once: a revision may set another search_path
        take, give_back = take.replace(PG, key), give_back.replace(PG, key)
    if "pg" in take and callers:
        take, give_back = take.replace("advisory", "advisory_xact"), "1"
    elif "pg" in take and IN_PROCESS is None:
        first = ask("pg_backend_pid()")
        with connection.engine.connect() as other:  # to which a pooler gives the same process
            second = other.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            if first == second or first != ask("pg_backend_pid()"):
                raise CommandError(
                    "PgBouncer in transaction mode loses locks: go to PostgreSQL itself"
                )
    waited = 0.0
    while not ask(take):
        if waited >= LOCK_WAIT:
            text = f"another process has been migrating this database for {LOCK_WAIT:g} seconds"
            raise CommandError(f"{text}; try again, or wait longer with ALEMBIC_LOCK_WAIT")
        ask(wait)
        waited += 0.2
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

    def pragma(value: str = "") -> str:
        cursor.execute(f"PRAGMA foreign_keys{value}")
        return value or f"={cursor.fetchall()[0][0]}"

    def refuse_rebuild(_: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "CREATE TABLE _alembic_tmp_" in statement and pragma() == "=1":
            text = "this revision rebuilds a table while SQLite's foreign keys are enforced, which"
            text += " would delete the rows that refer to it"
            raise CommandError(f"{text}; pass a connection without a transaction")

    before = pragma()
    pragma("=OFF")  # to which a transaction of the caller's is deaf
    sa.event.listen(connection, "before_cursor_execute", refuse_rebuild)
    try:
        yield
    finally:
        sa.event.remove(connection, "before_cursor_execute", refuse_rebuild)
        pragma(before)


def run_migrations(connection: sa.Connection) -> None:
    """Run the command on this connection, and leave the connection open."""
    dialect = connection.dialect
    if IN_PROCESS is None and dialect.name in LOCK_TIMEOUTS:
        connection.exec_driver_sql(f"SET {LOCK_TIMEOUTS[dialect.name]}")
        connection.commit()
    guards: dict[str, Any] = {"sqlite": foreign_keys_off, **dict.fromkeys(LOCKS, migration_lock)}
    with guards.get(dialect.name, nullcontext)(connection) if CHANGES else nullcontext():
        context.configure(connection=connection, **migration_options(dialect, connection))
        with context.begin_transaction():
            context.run_migrations()


def run_on_own_connection(url: URL) -> None:
    """Of an asynchronous driver, too, in a greenlet, as AsyncConnection.run_sync does it."""
    engine = sa.create_engine(**engine_arguments(url))

    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE" if CHANGES else "BEGIN")

    if engine.dialect.name == "sqlite":  # whose driver begins at the first INSERT, too late for DDL
        sa.event.listen(engine, "connect", lambda own, _: setattr(own, "isolation_level", None))
        sa.event.listen(engine, "begin", begin)
    with engine.connect() as connection:
        run_migrations(connection)


# From the command line only: an application has set up its logging itself.
if config.cmd_opts is not None and config.file_config.has_section("loggers"):
    fileConfig(str(config.config_file_name), disable_existing_loggers=False)

if context.is_offline_mode():
    url = read_url()
    options = migration_options(url.get_dialect()(), None)
    options |= {"literal_binds": True, "dialect_opts": {"paramstyle": "named"}}
    context.configure(url=url, **options)
    with context.begin_transaction():
        context.run_migrations()
elif IN_PROCESS is not None:
    run_migrations(IN_PROCESS)
elif not (url := read_url()).get_dialect().is_async:
    run_on_own_connection(url)
else:
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        text = "an event loop is running: pass a connection in config.attributes['connection']"
        raise CommandError(f"{text}, inside `await connection.run_sync(...)`")
    asyncio.run(greenlet_spawn(run_on_own_connection, url))
