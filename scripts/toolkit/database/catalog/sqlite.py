"""The catalog of a SQLite database, from the text that its tables were made with.

The PRAGMAs know nothing of a CHECK, a collation, a constraint's name, STRICT or the WHERE of
an index. The text knows all, but ALTER TABLE and Alembic's batch mode write it differently
than CREATE TABLE does, so it is taken apart (sqlite_text.py).
"""

from sqlalchemy import Connection

from .model import Catalog, Entry, put, without_version_table
from .sqlite_text import normal, parse_index, parse_table

MASTER = (
    "SELECT type, name, tbl_name, sql FROM sqlite_master"
    " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
)


def read(connection: Connection) -> Catalog:
    version = [int(part) for part in connection.dialect.server_version_info or ()]
    catalog: Catalog = {
        "table": {},
        "database": {"": {"dialect": "sqlite", "version": version, "default_schema": None}},
    }
    for kind, name, table, text in connection.exec_driver_sql(MASTER):
        if kind == "table":
            add_table(catalog, name, text)
        elif kind == "index":
            entry = {"schema": None, "table": table, "name": name, **parse_index(text)}
            put(catalog, "index", entry)
        else:
            place = {"schema": None, **({"table": table} if kind == "trigger" else {})}
            entry = {"definition": normal(text), "parts": {"text": text}}
            put(catalog, kind, {**place, "name": name, **entry})
    return without_version_table(catalog)


def add_table(catalog: Catalog, name: str, text: str) -> None:
    found = parse_table(text)
    put(catalog, "table", {"schema": None, "name": name, "options": found.options})
    for order, column in enumerate(found.columns, 1):
        put(catalog, "column", {"schema": None, "table": name, "order": order, **column})
    counted: dict[str, int] = {}
    for kind, constraint in found.constraints:
        entry: Entry = {"schema": None, "table": name, **constraint}
        if kind == "primary_key":
            entry["name"] = None
        elif entry["name"] is None:
            # Nothing but its content tells one that has no name from another.
            number = counted[entry["definition"]] = counted.get(entry["definition"], 0) + 1
            entry["name"] = entry["definition"] + (f" #{number}" if number > 1 else "")
            entry["auto_named"] = True
        put(catalog, kind, entry)
