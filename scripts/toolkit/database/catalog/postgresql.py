"""The catalog of a PostgreSQL database (12 and later)."""

import json
import re
from typing import Any

from sqlalchemy import Connection, text

from .model import Catalog, Entry, put, without_version_table
from .postgresql_queries import COLUMNS, CONSTRAINTS, INDEXES, OTHERS, RELATIONS

CONSTRAINT_KINDS = {
    "p": "primary_key",
    "u": "unique",
    "f": "foreign_key",
    "c": "check",
    "x": "exclusion",
}
SUFFIXES = {"unique": "key", "foreign_key": "fkey", "check": "check", "exclusion": "excl"}


def read(connection: Connection) -> Catalog:
    """With everything outside of pg_catalog qualified, whatever the search_path was."""
    before = connection.exec_driver_sql(
        "SELECT current_setting('search_path'), current_setting('jit'),"
        " set_config('search_path', 'pg_catalog', false), set_config('jit', 'off', false)"
    ).one()
    catalog: Catalog = {"table": {}, "database": {"": database(connection)}}
    for kind, schema, name, attributes in rows(connection, RELATIONS):
        put(catalog, kind, {"schema": schema, "name": name, **attributes})
    serial = add_columns(catalog, connection)
    for schema, table, name, kind, attributes in rows(connection, CONSTRAINTS):
        put(catalog, *constraint(schema, table, name, CONSTRAINT_KINDS[kind], attributes))
    for schema, table, name, attributes in rows(connection, INDEXES):
        put(catalog, "index", index(schema, table, name, attributes))
    for kind, schema, table, name, attributes in rows(connection, OTHERS):
        entry = {"schema": schema, **({"table": table} if table else {}), "name": name}
        if kind != "sequence" or attributes["parts"]["regclass"] not in serial:
            put(catalog, kind, {**entry, **attributes})
    connection.execute(
        text("SELECT set_config('search_path', :path, false), set_config('jit', :jit, false)"),
        {"path": before[0], "jit": before[1]},
    )
    return without_version_table(catalog)


def database(connection: Connection) -> Entry:
    return {
        "dialect": "postgresql",
        "version": list(connection.dialect.server_version_info or ()),
        "default_schema": connection.dialect.default_schema_name,
    }


def rows(connection: Connection, statement: str) -> list[tuple[Any, ...]]:
    """The result, its last column (an object as text) read: drivers differ about JSON."""
    found = connection.exec_driver_sql(statement)
    return [(*row[:-1], json.loads(row[-1])) for row in found]


def add_columns(catalog: Catalog, connection: Connection) -> set[str]:
    """Add the columns; the sequences that belong to one and are no object of their own.

    SERIAL is a default from a sequence whose name is made from the table's first name, and
    stays after a rename: the column has `serial` instead of both.
    """
    serial = set()
    for relation, schema, table, name, attributes in rows(connection, COLUMNS):
        sequence = attributes.pop("sequence")
        regclass = sequence and sequence.pop("regclass")
        entry = {"schema": schema, "table": table, "name": name, **attributes}
        if entry["identity"]:
            always = {"a": "ALWAYS", "d": "BY DEFAULT"}[entry["identity"]]
            entry["identity"] = {"generated": always, **(sequence or {})}
        elif sequence and entry["default"] == f"nextval('{regclass}'::regclass)":
            entry["serial"], entry["default"] = sequence, None
            serial.add(str(regclass))
        entry["parts"] = {"sequence": regclass}
        if relation == "c":
            owner = catalog["type"][f"{schema}.{table}"]
            owner["columns"] = sorted([*owner.get("columns", []), column_of_type(entry)])
        else:
            put(catalog, "column", entry)
    return serial


def column_of_type(entry: Entry) -> list[Any]:
    return [entry["order"], entry["name"], entry["type"]]


def constraint(
    schema: str, table: str, name: str, kind: str, attributes: Entry
) -> tuple[str, Entry]:
    entry = {"schema": schema, "table": table, "name": name, **attributes}
    if kind == "primary_key":
        # A table has one at most, and nothing depends on what it is called.
        entry = {**entry, "name": None, "parts": {**entry["parts"], "name": name}}
    elif is_made_up(name, table, SUFFIXES[kind], entry["parts"]["columns"]):
        entry["auto_named"] = True
    return kind, entry


def is_made_up(name: str, table: str, suffix: str, columns: list[str]) -> bool:
    """Is this the name that PostgreSQL gives: table_column_key, table_check1?

    It shortens long ones from both ends of table and columns, so the ends count only.
    """
    if not re.search(rf"_{suffix}\d*$", name):
        return False
    return name.startswith(table[:20]) or any(column[:10] in name for column in columns)


def index(schema: str, table: str, name: str, attributes: Entry) -> Entry:
    unique = attributes["definition"].startswith("CREATE UNIQUE")
    definition = attributes["definition"].partition(" USING ")[2]
    named = {"schema": schema, "table": table, "name": name}
    return {**named, **attributes, "definition": definition, "unique": unique}
