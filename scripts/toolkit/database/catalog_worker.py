"""Actions of the Alembic worker that read a scratch database, and fill one from the models.

Loaded by path like the guard: the process runs a project's code, which may have a package
called like ours.
"""

# ruff: noqa: ANN401  (a project's objects)

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util.sqla_compat import _get_constraint_final_name
from sqlalchemy import Connection, Index, MetaData, Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateSchema

Report = dict[str, Any]
PACKAGE = "_alembic_scratch_catalog"


def load_catalog() -> ModuleType:
    """The package beside this file, under a name that no project has."""
    if PACKAGE in sys.modules:
        return sys.modules[PACKAGE]
    folder = Path(__file__).with_name("catalog")
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_in_environment(config: Config, work: Callable[[Any], None]) -> None:
    """Run env.py, and `work` with its migration context in the place of migrations."""

    def instead(_revision: Any, context: Any) -> list[Any]:
        # With transaction_per_migration the environment has begun none.
        with context.begin_transaction(_per_migration=True):
            work(context)
        return []

    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, script, fn=instead, dont_mutate=True):
        script.run_env()


def read_catalog(config: Config, _request: Report, report: Report, _guard: ModuleType) -> None:
    """What the connection that env.py opens can see: `catalog`."""
    catalog = load_catalog()

    def work(context: Any) -> None:
        report["catalog"] = catalog.read_catalog(context.connection)

    run_in_environment(config, work)


def create_all(config: Config, request: Report, report: Report, _guard: ModuleType) -> None:
    """Make what the models describe on an empty database, and read it: `catalog`.

    `request["prepare"]` are statements to run first, each of which may fail: extensions and
    functions that migrations create and models take for granted. `ignored` are the objects
    that env.py keeps from Alembic: [kind, schema, table, name].
    """
    catalog = load_catalog()

    def work(context: Any) -> None:
        connection: Connection = context.connection
        target = context.opts["target_metadata"]
        metadatas = list(target) if isinstance(target, (list, tuple)) else [target]
        metadatas = [metadata for metadata in metadatas if metadata is not None]
        for statement in request.get("prepare", ()):
            try_to(connection, statement)
        # Before they are made: env.py may leave what is there already, as a view is (#13).
        places = [list(place) for metadata in metadatas for place in ignored(context, metadata)]
        report["ignored"] = sorted(places, key=str)
        for metadata in metadatas:
            make(connection, metadata)
        report["catalog"] = catalog.read_catalog(connection)

    run_in_environment(config, work)


def try_to(connection: Connection, statement: str) -> None:
    """Run it in a savepoint: what really is needed shows when the models' tables are made."""
    with contextlib.suppress(SQLAlchemyError), connection.begin_nested():
        connection.exec_driver_sql(statement)


def make(connection: Connection, metadata: MetaData) -> None:
    """create_all, with what it expects to be there."""
    if connection.dialect.name == "postgresql":
        for schema in sorted({table.schema for table in tables(metadata) if table.schema}):
            connection.execute(CreateSchema(schema, if_not_exists=True))
        for kind in left_to_others(metadata):
            kind.create(connection, checkfirst=True)
    for index in (index for table in tables(metadata) for index in table.indexes):
        # CONCURRENTLY is for tables in use, and not possible in a transaction.
        index.dialect_options["postgresql"]["concurrently"] = False
    metadata.create_all(connection)


def tables(metadata: MetaData) -> Iterable[Table]:
    return metadata.tables.values()


def left_to_others(metadata: MetaData) -> Iterator[Any]:
    """The types that models declare with create_type=False: migrations make those."""
    for column in (column for table in tables(metadata) for column in table.columns):
        kind = getattr(column.type, "item_type", column.type)
        if getattr(kind, "create_type", True) is False and hasattr(kind, "create"):
            yield kind


def ignored(context: Any, metadata: MetaData) -> Iterator[tuple[str, str | None, str, str]]:
    """What include_object and include_name of env.py leave out, and values of the server's own."""
    filters = AutogenContext(context, metadata, autogenerate=False)

    def included(item: Any, name: Any, kind: Any) -> bool:
        parents: Any = {} if kind == "table" else {"table_name": table.name}
        parents |= {"schema_name": table.schema, "schema_qualified_table_name": table.fullname}
        return filters.run_object_filters(item, name, kind, False, None) and (
            filters.run_name_filters(name, kind, parents)
        )

    for table in tables(metadata):
        if not included(table, table.name, "table"):
            yield "table", table.schema, table.name, table.name
            continue
        for column in table.columns:
            if not included(column, column.name, "column"):
                yield "column", table.schema, table.name, column.name
            if column.server_default is not None and column.computed is None:
                yield "generated", table.schema, table.name, column.name  # FetchedValue()
        items: list[Any] = [*table.constraints, *table.indexes]
        for item in items:
            kind = "index" if isinstance(item, Index) else kind_of(item)
            name = _get_constraint_final_name(item, context.dialect)
            if kind and name and not included(item, name, filter_kind(kind)):
                yield kind, table.schema, table.name, name


def kind_of(constraint: Any) -> str:
    """The catalog's kind; empty for those that Alembic does not compare."""
    names = {
        "UniqueConstraint": "unique",
        "ForeignKeyConstraint": "foreign_key",
        "CheckConstraint": "check",
    }
    return names.get(type(constraint).__name__, "")


def filter_kind(kind: str) -> str:
    """The kind as include_object is told it."""
    names = {"unique": "unique_constraint", "foreign_key": "foreign_key_constraint"}
    return {**names, "check": "check_constraint"}.get(kind, kind)


ACTIONS: dict[str, Callable[[Config, Report, Report, ModuleType], None]] = {
    "read_catalog": read_catalog,
    "create_all": create_all,
}
