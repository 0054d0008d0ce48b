"""What a statement did to a SQLite database.

SQLite can change little of a table. Alembic's batch mode does the rest: it makes a second
table, copies all rows, drops the first and renames the second. That is seen here statement by
statement: the definition of what is dropped, and of what takes its place.

DROP TABLE deletes the rows first, as DELETE would: where foreign keys are enforced, rows of
other tables that refer to them with ON DELETE CASCADE are gone, too.
"""

from typing import Any

from sqlalchemy import Connection

from .recorder import Statement, first_word, read
from .schema import Tables, changes_between, note_replaced

CHANGES_SCHEMA = {"CREATE", "ALTER", "DROP"}
OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
# One statement for all tables.
COLUMNS = """
SELECT m.name, c.name, upper(c.type), c."notnull", c.dflt_value, c.pk, c.hidden
FROM sqlite_master m, pragma_table_xinfo(m.name) c WHERE m.type = 'table'
AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.cid
"""
CASCADES = """
SELECT m.name, f."table" FROM sqlite_master m, pragma_foreign_key_list(m.name) f
WHERE m.type = 'table' AND f.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT')
"""


def make_reader(_connection: Connection) -> "SQLiteReader":
    return SQLiteReader()


class SQLiteReader:
    """Compares the schema before and after each statement that can change it."""

    def __init__(self) -> None:
        self._existed: set[str] = set()
        self._tables: Tables = {}
        self._definitions: dict[str, dict[str, Any]] = {}
        self._views: set[str] = set()
        self._cascades: dict[str, list[str]] = {}

    def begin_revision(self, connection: Connection) -> None:
        self._look(connection)
        self._existed = {*self._tables, *self._views}

    def before_statement(self, connection: Connection, statement: Statement) -> str:
        self._cascades = {}
        sql = str(statement["sql"])
        if first_word(sql) == "DROP":
            (enforced,) = read(connection, "PRAGMA foreign_keys")
            if enforced[0]:
                for child, parent in read(connection, CASCADES):
                    if child != parent:
                        self._cascades.setdefault(str(parent), []).append(str(child))
        return sql

    def after_statement(self, connection: Connection, statement: Statement) -> None:
        statement["changes"] = []
        note_replaced(statement, self._tables)
        if first_word(statement["sql"]) not in CHANGES_SCHEMA:
            return
        before, definitions, views = self._tables, self._definitions, self._views
        self._look(connection)
        changes = changes_between(before, self._tables, statement["sql"])
        for change in changes:
            table = change["table"]
            change["existed"] = table in self._existed
            if change["what"] == "table-dropped":
                change["before"] = definitions[table]
                change["cascades"] = sorted(set(self._cascades.get(table, ())))
            elif change["what"] == "table-renamed":
                change["after"] = self._definitions[change["new"]]
        changes += [
            {"what": "view-dropped", "table": view, "existed": view in self._existed}
            for view in sorted(views - self._views)
        ]
        statement["changes"] = changes

    def after_error(self, _connection: Connection, statement: Statement) -> None:
        statement["changes"] = []

    def rolled_back(self, connection: Connection) -> None:
        self._look(connection)

    def end_revision(self, _connection: Connection) -> None:
        """Nothing is held that the next revision could be blamed for."""

    def _look(self, connection: Connection) -> None:
        tables: Tables = {}
        for table, column, kind, required, default, key, hidden in read(connection, COLUMNS):
            tables.setdefault(str(table), {})[str(column)] = {
                "type": str(kind),
                "nullable": not required and not key,
                "default": default is not None or bool(key) or bool(hidden),
            }
        self._tables = tables
        definitions: dict[str, dict[str, Any]] = {
            name: {"columns": columns, "triggers": [], "sql": ""}
            for name, columns in tables.items()
        }
        views: set[str] = set()
        for kind, name, table, sql in read(connection, OBJECTS):
            if kind == "table" and table in definitions:
                definitions[table]["sql"] = str(sql)
            elif kind == "trigger" and table in definitions:
                definitions[table]["triggers"].append(str(name))
            elif kind == "view":
                views.add(str(name))
        self._definitions = definitions
        self._views = views
