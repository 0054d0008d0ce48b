"""Alembic environment for async SQLAlchemy: `alembic upgrade`, `revision`, `check`, `--sql`.

Copy to `alembic/env.py` beside `script.py.mako`. Change the block of project settings, nothing
else: which modules define tables, which metadata they belong to, where the URL comes from.

- An async driver runs under `asyncio.run`; a URL with a synchronous driver runs without asyncio.
- In-process, also inside a running loop: in `await connection.run_sync(upgrade)`, let `upgrade`
  put the connection that it is given into `config.attributes["connection"]` and call
  `command.upgrade(config, "head")`. Its transaction and its settings stay the caller's.
- Several processes may run `alembic upgrade head` at once: one migrates, the others wait, at
  most ALEMBIC_LOCK_WAIT seconds (300). The lock belongs to the database session: the URL must
  lead to PostgreSQL itself, not to a PgBouncer in transaction mode.
- Beyond Alembic's own: enum types on PostgreSQL are created, extended and dropped, and column
  types are written so that a revision does not import the application.
"""

import asyncio
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from logging.config import fileConfig
from typing import Any, Literal
from urllib.parse import urlencode

from alembic import context
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type as render_type
from alembic.ddl.mysql import MariaDBImpl, MySQLImpl
from alembic.ddl.postgresql import PostgresqlImpl
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import (
    ARRAY,
    JSON,
    URL,
    Column,
    Connection,
    Enum,
    MetaData,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator, TypeEngine

# -- project settings (setup-alembic.sh writes this block) --
MODEL_MODULES: tuple[str, ...] = ("app.models",)


def load_metadata() -> MetaData | list[MetaData]:
    """The tables that the database should have."""
    metadata: MetaData = import_module("app.db.base_model").Base.metadata
    return metadata


def database_url() -> str | URL:
    """Where the database is. The URL has a password: it is read, never written to a file."""
    return os.environ["DATABASE_URL"]


# -- end of project settings --

config = context.config
LOCK_WAIT = float(os.environ.get("ALEMBIC_LOCK_WAIT", "300"))

# A statement that waits for a table makes every later query wait behind it: it gives up soon.
# CREATE INDEX CONCURRENTLY waits for old transactions: its revision sets lock_timeout = 0.
LOCK_TIMEOUTS = {
    "postgresql": "SET lock_timeout = '4s'",
    "mysql": "SET SESSION lock_wait_timeout = 4",
}
# Take, wait, give back. PostgreSQL's lock belongs to one database, MySQL's to the server.
LOCKS = {
    "postgresql": (
        "SELECT pg_try_advisory_lock(hashtext('alembic'))",
        "SELECT pg_sleep(0.2)",
        "SELECT pg_advisory_unlock(hashtext('alembic'))",
    ),
    "mysql": (
        "SELECT GET_LOCK(CONCAT('alembic_', MD5(DATABASE())), 0)",
        "SELECT SLEEP(0.2)",
        "SELECT RELEASE_LOCK(CONCAT('alembic_', MD5(DATABASE())))",
    ),
}
LOCKS["mariadb"], LOCK_TIMEOUTS["mariadb"] = LOCKS["mysql"], LOCK_TIMEOUTS["mysql"]
LOCK_UNTIL_COMMIT = "SELECT pg_try_advisory_xact_lock(hashtext('alembic'))"
DRIVERS = {  # in order of preference
    "postgresql": ("asyncpg", "psycopg", "psycopg2"),
    "mysql": ("aiomysql", "asyncmy", "pymysql", "mysqldb"),
    "sqlite": ("aiosqlite", "pysqlite"),
}
DIALECTS = {
    name: make_url(f"{name}://").get_dialect()()
    for name in ("postgresql", "sqlite", "mysql", "mariadb")
}


def without_password(text: str) -> str:
    text = re.sub(r"(://[^:/@\s]*:).+(?=@)", r"\1***", text)  # with raw blanks, @ and / in it
    return re.sub(r"(?i)((?:password|passwd|pwd)\d?=)(?:'[^']*'|[^\s&'\"]+)", r"\1***", text)


def read_url() -> URL:
    """The project's URL, with an installed driver (asynchronous if possible) if it names none."""
    try:
        given = database_url()
    except Exception as error:
        reason = without_password(f"{type(error).__name__}: {error}")
        raise CommandError(f"the database URL cannot be read: {reason}") from None
    url = None
    with suppress(SQLAlchemyError, ValueError):
        url = make_url(given)
    if url is None or "@" in f"{url.host}{url.database}":
        raise CommandError(
            "the database URL cannot be parsed: percent-encode the special characters in its "
            "user and password (urllib.parse.quote)"
        )
    scheme = {"postgres": "postgresql", "mariadb": "mysql"}.get(url.drivername, url.drivername)
    candidates = [url.set(drivername=f"{scheme}+{driver}") for driver in DRIVERS.get(scheme, ())]
    if not candidates:  # it names its driver
        return url
    for candidate in candidates:
        dialect = candidate.get_dialect()
        with suppress(ImportError):
            dialect.import_dbapi()
            if not dialect.is_async or find_spec("greenlet"):
                return candidate
    raise CommandError(f"no driver for {scheme} is installed: one of {DRIVERS[scheme]} is needed")


def engine_arguments(url: URL) -> dict[str, Any]:
    """Arguments for create_engine; asyncpg understands libpq's parameters in a DSN only."""
    connect: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        connect["timeout"] = LOCK_WAIT
    elif url.get_driver_name() == "asyncpg":
        # No cached plans: a revision changes tables that it has read.
        connect = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        query = dict(url.query)
        for name in ("channel_binding", "gssencmode", *connect):
            query.pop(name, None)
        for name in ("connect_timeout", "timeout"):
            if name in query:
                connect["timeout"] = float(str(query.pop(name)))
        own = {name: value for name, value in query.items() if name in ("host", "port", "ssl")}
        libpq = {name: value for name, value in query.items() if name not in own}
        if libpq:
            connect["dsn"] = f"postgresql://?{urlencode(libpq, doseq=True)}"
        url = url.set(query=own)
    return {"url": url, "connect_args": connect, "poolclass": NullPool}


def import_models() -> list[MetaData]:
    """Import every model module. A failure stops all: the missing tables would be dropped."""
    for module in MODEL_MODULES:
        try:
            import_module(module)
        except Exception as error:
            reason = without_password(f"{type(error).__name__}: {error}")
            raise CommandError(f"model module {module!r} does not import: {reason}") from error
    metadata = load_metadata()
    return [metadata] if isinstance(metadata, MetaData) else metadata


def native_enum(type_: TypeEngine[Any] | None) -> Enum | None:
    """The enum that is a type of its own on PostgreSQL, also in a decorator or an array."""
    while isinstance(type_, TypeDecorator | ARRAY):
        type_ = type_.impl_instance if isinstance(type_, TypeDecorator) else type_.item_type
    return type_ if isinstance(type_, Enum) and type_.native_enum and type_.name else None


def compare_type(
    _context: MigrationContext,
    _database_column: Column[Any],
    _model_column: Column[Any],
    database_type: TypeEngine[Any],
    model_type: TypeEngine[Any],
) -> bool | None:
    """Notice a value that was added to a PostgreSQL enum (none can be removed from one)."""
    old, new = native_enum(database_type), native_enum(model_type)
    return True if old and new and set(new.enums) - set(old.enums) else None


class _QuietDefaults:
    """See that MySQL writes `true` as 1, `0` as 0.00 and `now()` as current_timestamp().

    Not context.configure's callback: Alembic calls that for generated columns too, and fails.
    """

    def compare_server_default(
        self, _database: object, _model: object, wanted: str | None, present: str | None
    ) -> bool:
        return plain_default(wanted) != plain_default(present)


class QuietMySQL(_QuietDefaults, MySQLImpl):
    __dialect__ = "mysql"


class QuietMariaDB(_QuietDefaults, MariaDBImpl):
    __dialect__ = "mariadb"


class QuietPostgresql(PostgresqlImpl):
    """See the default of a json column: PostgreSQL has no `=` for json, which Alembic asks for."""

    __dialect__ = "postgresql"

    def compare_server_default(
        self, database: Column[Any], model: Column[Any], wanted: str | None, present: str | None
    ) -> bool:
        if isinstance(database.type, JSON) and not isinstance(database.type, postgresql.JSONB):
            texts = ((text or "").removesuffix("::json").strip("'") for text in (wanted, present))
            return len(set(texts)) > 1
        differs: bool = super().compare_server_default(  # type: ignore[no-untyped-call]
            database, model, wanted, present
        )
        return differs


def plain_default(default: str | None) -> object:
    if default is None:
        return None
    text = re.sub(r"[\s'()]", "", default).lower()
    text = {"true": "1", "false": "0"}.get(text, text).replace("now", "current_timestamp")
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text


def render_item(kind: str, item: object, autogen: AutogenContext) -> str | Literal[False]:
    """Write column types so that a revision does not import the application."""
    if kind != "type" or not isinstance(item, TypeEngine):
        return False
    module = type(item).__module__
    if isinstance(item, Enum) and native_enum(item) and "postgresql" not in item._variant_mapping:
        # Not created with each table that uses it, but by write_enum_types.
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        name = f"name={item.name!r}" + (f", schema={item.schema!r}" if item.schema else "")
        if isinstance(item, postgresql.ENUM):
            values = "".join(f"{value!r}, " for value in item.enums)
            return f"postgresql.ENUM({values}{name}, create_type=False)"
        return f"sa.{item!r}.with_variant(postgresql.ENUM({name}, create_type=False), 'postgresql')"
    if isinstance(item, postgresql.JSON):  # Alembic knows its Text() on PostgreSQL only
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return f"postgresql.{item!r}".replace("=Text(", "=sa.Text(")
    if not module.startswith("sqlalchemy."):
        if isinstance(item, TypeDecorator):
            return render_decorated(item, autogen)
        autogen.imports.add(f"import {module}")
    return False


def render_decorated(item: TypeDecorator[Any], autogen: AutogenContext) -> str:
    """What a decorator stores, with a variant where a dialect stores something else."""
    rendered = render_type(item.impl_instance, autogen)
    variants: dict[str, list[str]] = {}
    for dialect_name, dialect in DIALECTS.items():
        stored = item.load_dialect_impl(dialect)
        package = ".".join(type(stored).__module__.split(".")[:3])
        if "dialects" in package and not hasattr(import_module(package), type(stored).__name__):
            stored = stored.as_generic()  # it was a driver's own flavour, in a private class
        if (variant := render_type(stored, autogen)) != rendered:
            variants.setdefault(variant, []).append(repr(dialect_name))
    for variant, names in variants.items():
        rendered += f".with_variant({variant}, {', '.join(names)})"
    return rendered


class PostgresqlOp(ops.ExecuteSQLOp):
    """A statement for PostgreSQL, in a revision that may run on other databases too."""


@renderers.dispatch_for(PostgresqlOp)
def render_postgresql(_autogen: AutogenContext, operation: PostgresqlOp) -> list[str]:
    statement = str(operation.sqltext).replace(":", r"\:")
    condition = 'if op.get_context().dialect.name == "postgresql":'
    return [condition, f"op.execute({statement!r})", ""]  # an empty line ends the block


def type_name(enum: Enum) -> str:
    quote = DIALECTS["postgresql"].identifier_preparer.quote
    return ".".join(quote(part) for part in (enum.schema, enum.name) if part)


def literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def create_enum(enum: Enum) -> PostgresqlOp:
    values = ", ".join(literal(value) for value in enum.enums)
    return PostgresqlOp(f"CREATE TYPE {type_name(enum)} AS ENUM ({values})")


def drop_enum(enum: Enum) -> PostgresqlOp:
    return PostgresqlOp(f"DROP TYPE {type_name(enum)}")


def given_types(
    operation: ops.CreateTableOp | ops.AddColumnOp | ops.AlterColumnOp,
) -> dict[str, TypeEngine[Any] | None]:
    """The columns to which an operation gives a type."""
    if isinstance(operation, ops.CreateTableOp):
        return {item.name: item.type for item in operation.columns if isinstance(item, Column)}
    if isinstance(operation, ops.AddColumnOp):
        return {operation.column.name: operation.column.type}
    return {operation.column_name: operation.modify_type}


def given_enums(operations: Iterable[ops.MigrateOperation]) -> Iterator[tuple[str, Enum]]:
    """Each column that gets an enum type: "schema.table.column", the enum."""
    for operation in operations:
        if isinstance(operation, ops.ModifyTableOps):
            yield from given_enums(operation.ops)
        elif isinstance(operation, ops.CreateTableOp | ops.AddColumnOp | ops.AlterColumnOp):
            for column_name, type_ in given_types(operation).items():
                if enum := native_enum(type_):
                    yield f"{operation.schema}.{operation.table_name}.{column_name}", enum


def take_added_values(container: ops.OpContainer) -> dict[str, PostgresqlOp]:
    """Take out the changes of a column from an enum to itself; what they should be, by SQL."""
    added: dict[str, PostgresqlOp] = {}
    for table in [item for item in container.ops if isinstance(item, ops.ModifyTableOps)]:
        for operation in [item for item in table.ops if isinstance(item, ops.AlterColumnOp)]:
            old, new = native_enum(operation.existing_type), native_enum(operation.modify_type)
            if not old or not new or type_name(old) != type_name(new):
                continue
            for value in (value for value in new.enums if value not in old.enums):
                statement = f"ALTER TYPE {type_name(new)} ADD VALUE IF NOT EXISTS {literal(value)}"
                added[statement] = PostgresqlOp(statement)
            operation.modify_type = None
            if not operation.has_changes():
                table.ops.remove(operation)
    return added


def drop_indexes_with_their_table(container: ops.OpContainer) -> None:
    """A table takes its indexes along; MySQL refuses to drop first what a foreign key needs."""
    dropped = {
        (operation.schema, operation.table_name)
        for operation in container.ops
        if isinstance(operation, ops.DropTableOp)
    }
    for part in container.ops:
        if isinstance(part, ops.ModifyTableOps) and (part.schema, part.table_name) in dropped:
            part.ops = [inner for inner in part.ops if not isinstance(inner, ops.DropIndexOp)]
    container.ops = [
        operation
        for operation in container.ops
        if not (isinstance(operation, ops.ModifyTableOps) and operation.is_empty())
    ]


def write_enum_types(script: ops.MigrationScript, metadatas: list[MetaData]) -> None:
    """Create, extend and drop the enum types, which autogenerate leaves out.

    A type is new if all its columns are new, by the models: also when that is not seen from
    the database, because the revision is written on SQLite.
    """
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    assert upgrade is not None
    assert downgrade is not None
    used: dict[str, set[str]] = {}
    for table in (table for metadata in metadatas for table in metadata.tables.values()):
        for column in table.columns:
            if enum := native_enum(column.type):
                place = f"{table.schema}.{table.name}.{column.name}"
                used.setdefault(type_name(enum), set()).add(place)
    given = dict(given_enums(upgrade.ops))
    restored = {type_name(enum): enum for _, enum in given_enums(downgrade.ops)}
    new = {
        name: enum
        for enum in given.values()
        if (name := type_name(enum)) not in restored and used.get(name, set()) <= given.keys()
    }
    gone = [enum for name, enum in restored.items() if name not in used]
    added = take_added_values(upgrade)
    take_added_values(downgrade)
    upgrade.ops[:0] = [*added.values(), *(create_enum(enum) for enum in new.values())]
    upgrade.ops += [drop_enum(enum) for enum in gone]
    downgrade.ops[:0] = [create_enum(enum) for enum in gone]
    downgrade.ops += [drop_enum(enum) for enum in new.values()]


def migration_options(dialect_name: str) -> dict[str, Any]:
    """Everything that `context.configure` is told, online and offline."""
    metadatas = import_models()
    schemas = {table.schema for metadata in metadatas for table in metadata.tables.values()}
    checks = "alembic.ext.checkconstraint_byname"

    def include_name(name: str | None, kind: str, _parents: Mapping[Any, Any]) -> bool:
        # A table that no model describes is dropped: look only where models are.
        return kind != "schema" or name in schemas

    def process_revision_directives(
        migration: MigrationContext, _revision: object, scripts: list[ops.MigrationScript]
    ) -> None:
        asked = migration.opts["revision_context"].command_args
        if not asked["autogenerate"]:
            return
        # `alembic check` comes here too. It writes nothing and needs its script afterwards.
        writes = asked["message"] or getattr(config.cmd_opts, "autogenerate", False)
        if writes and not schemas:
            raise CommandError("no model has a table: is every model module in MODEL_MODULES?")
        for script in scripts:
            for container in (*script.upgrade_ops_list, *script.downgrade_ops_list):
                drop_indexes_with_their_table(container)
            write_enum_types(script, metadatas)
        if writes and all(ops.is_empty() for script in scripts for ops in script.upgrade_ops_list):
            scripts.clear()
            config.print_stdout("No changes between models and database: no revision written.")

    sqlite = dialect_name == "sqlite"
    return {
        "target_metadata": metadatas,
        "include_schemas": bool(schemas - {None}),
        "include_name": include_name,
        "include_object": lambda item, *_: is_for_dialect(item, dialect_name),
        "compare_type": compare_type,
        "compare_server_default": True,
        "autogenerate_plugins": ["alembic.autogenerate.*"] + [checks] * bool(find_spec(checks)),
        "process_revision_directives": process_revision_directives,
        "render_item": render_item,
        "render_as_batch": sqlite,
        # SQLite has no lock but the transaction: the version is read and all is done in one.
        "transaction_per_migration": not sqlite,
        "transactional_ddl": True if sqlite else None,
    }


def is_for_dialect(item: object, dialect_name: str) -> bool:
    """False for an index or constraint whose `ddl_if(dialect=...)` names another database."""
    ddl_if = getattr(item, "_ddl_if", None)
    wanted = ddl_if.dialect if ddl_if else None
    return wanted is None or dialect_name in ([wanted] if isinstance(wanted, str) else wanted)


def changes_database() -> bool:
    """True for upgrade, downgrade and stamp, which have a destination."""
    with suppress(CommandError):  # several heads: the command itself will say so
        try:
            context.get_revision_argument()
        except KeyError:
            return False
    return True


@contextmanager
def migration_lock(connection: Connection) -> Iterator[None]:
    """Let one process at a time change this database.

    By polling, without a transaction while it waits: CREATE INDEX CONCURRENTLY waits for the
    snapshots of others, so for a process that waits inside of `pg_advisory_lock` for ever.
    """
    in_callers_transaction = connection.in_transaction()

    def ask(statement: str) -> object:
        answer: object = connection.exec_driver_sql(statement).scalar()
        if not in_callers_transaction:
            # Without this commit, Alembic takes the transaction for the caller's, leaves the
            # commit of the migrations to him, and all is rolled back silently.
            connection.commit()
        return answer

    take, wait, give_back = LOCKS[connection.dialect.name]
    until_commit = in_callers_transaction and connection.dialect.name == "postgresql"
    waited = 0.0
    while not ask(LOCK_UNTIL_COMMIT if until_commit else take):
        if waited >= LOCK_WAIT:
            raise CommandError(
                f"another process has been migrating this database for {LOCK_WAIT:g} seconds; "
                "try again when it is done, or wait longer with ALEMBIC_LOCK_WAIT"
            )
        ask(wait)
        waited += 0.2
    try:
        yield
    finally:
        if not until_commit:
            with suppress(SQLAlchemyError):  # a broken connection has lost its lock already
                if not in_callers_transaction:
                    connection.rollback()
                ask(give_back)


@contextmanager
def foreign_keys_off(connection: Connection) -> Iterator[None]:
    """SQLite's batch mode drops the table it rebuilds, and a cascade would empty its children."""

    def pragma(suffix: str = "") -> bool:
        # On the driver's cursor: SQLAlchemy would begin a transaction, where it is ignored.
        cursor = connection.connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys{suffix}")
        row = None if suffix else cursor.fetchone()
        cursor.close()
        return bool(row and row[0])

    def refuse_rebuild(_: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        if "CREATE TABLE _alembic_tmp_" in statement:
            raise CommandError(
                "this revision rebuilds a table while SQLite's foreign keys are enforced, which "
                "would delete the rows that refer to it; pass a connection without a transaction"
            )

    if not pragma():
        yield
        return
    pragma("=OFF")
    if in_callers_transaction := pragma():
        event.listen(connection, "before_cursor_execute", refuse_rebuild)
    try:
        yield
    finally:
        if in_callers_transaction:
            event.remove(connection, "before_cursor_execute", refuse_rebuild)
        else:
            pragma("=ON")


def run_migrations(connection: Connection) -> None:
    """Run the command on this connection, and leave the connection open."""
    options = migration_options(connection.dialect.name)
    with ExitStack() as stack:
        if changes_database() and connection.dialect.name == "sqlite":
            stack.enter_context(foreign_keys_off(connection))
        elif changes_database() and connection.dialect.name in LOCKS:
            stack.enter_context(migration_lock(connection))
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()


def run_on_own_connection(connection: Connection) -> None:
    if setting := LOCK_TIMEOUTS.get(connection.dialect.name):
        connection.exec_driver_sql(setting)
        connection.commit()
    run_migrations(connection)


def prepare(engine: Engine) -> None:
    """Make DDL transactional on SQLite, whose driver begins at the first INSERT by itself."""
    if engine.dialect.name != "sqlite":
        return
    begin = "BEGIN IMMEDIATE" if changes_database() else "BEGIN"

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql(begin)


async def run_async(url: URL) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - needs greenlet

    engine = create_async_engine(**engine_arguments(url))
    prepare(engine.sync_engine)
    async with engine.connect() as connection:
        await connection.run_sync(run_on_own_connection)
    await engine.dispose()


def run_sync(url: URL) -> None:
    engine = create_engine(**engine_arguments(url))
    prepare(engine)
    with engine.connect() as connection:
        run_on_own_connection(connection)


def run_migrations_online() -> None:
    if (connection := config.attributes.get("connection")) is not None:
        run_migrations(connection)
        return
    url = read_url()
    if not url.get_dialect().is_async:
        run_sync(url)
        return
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise CommandError(
            "an event loop is running: pass a connection in config.attributes['connection'], "
            "inside `await connection.run_sync(...)`"
        )
    asyncio.run(run_async(url))


def run_migrations_offline() -> None:
    url = read_url()
    options = migration_options(url.get_backend_name())
    style = {"paramstyle": "named"}
    context.configure(url=url, literal_binds=True, dialect_opts=style, **options)
    with context.begin_transaction():
        context.run_migrations()


# From the command line only: an application has set up its logging itself.
if config.cmd_opts is not None and config.file_config.has_section("loggers"):
    fileConfig(str(config.config_file_name), disable_existing_loggers=False)

if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
