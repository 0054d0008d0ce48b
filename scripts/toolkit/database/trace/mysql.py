"""What a statement did to a MySQL or MariaDB database.

These servers say themselves how gently they can change a table: an ALTER that names an
ALGORITHM and a LOCK is refused when it would take more than that. So each ALTER is run in
the gentlest form first and, as long as it is refused, in the next one; the first that the
server accepts is what it would have chosen by itself.

MariaDB has NOCOPY between INSTANT and INPLACE, and from 11.2 on COPY without a lock. MySQL
refuses a LOCK beside INSTANT, and refuses INSTANT after 64 of them.

Nothing is undone here by a ROLLBACK: each change of the schema is its own transaction.
"""

import re
from typing import Any

from sqlalchemy import Connection

from .recorder import COMMENTS, Statement, first_word, read
from .schema import Tables, changes_between, note_replaced

Form = tuple[str, str | None]
"""An ALGORITHM and a LOCK; None: the server's choice."""

MARIADB: tuple[Form, ...] = (
    ("INSTANT", None),
    ("NOCOPY", "NONE"),
    ("NOCOPY", "SHARED"),
    ("INPLACE", "NONE"),
    ("INPLACE", "SHARED"),
    ("COPY", "NONE"),
    ("COPY", "SHARED"),
)
MYSQL: tuple[Form, ...] = (
    ("INSTANT", None),
    ("INPLACE", "NONE"),
    ("INPLACE", "SHARED"),
    ("COPY", "SHARED"),
)
# Not supported, not supported because, LOCK beside INSTANT, too many INSTANT changes.
REFUSED = {1845, 1846, 1221, 4092}
CHANGES_SCHEMA = {"CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"}
ALTER = re.compile(r"ALTER\s+(?:IGNORE\s+)?TABLE\b", re.IGNORECASE)
CREATE_INDEX = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:UNIQUE\s+|FULLTEXT\s+|SPATIAL\s+)?INDEX\b", re.IGNORECASE
)
DROP_INDEX = re.compile(
    r"DROP\s+INDEX\s+(?P<name>`[^`]+`|\S+)\s+ON\s+(?P<table>\S+)\s*\Z", re.IGNORECASE
)
CHOSEN = {
    name: re.compile(rf"\b{name}\s*=?\s*(\w+)", re.IGNORECASE) for name in ("ALGORITHM", "LOCK")
}
COLUMNS = """
SELECT c.table_name, c.column_name, c.column_type, c.is_nullable, c.column_default, c.extra
FROM information_schema.columns c JOIN information_schema.tables t
ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = DATABASE() AND t.table_type <> 'VIEW'
ORDER BY c.table_name, c.ordinal_position
"""
KEYS = """
SELECT t.table_name, t.constraint_name, t.constraint_type, GROUP_CONCAT(k.column_name)
FROM information_schema.table_constraints t LEFT JOIN information_schema.key_column_usage k
ON k.table_schema = t.table_schema AND k.table_name = t.table_name
AND k.constraint_name = t.constraint_name
WHERE t.table_schema = DATABASE() GROUP BY 1, 2, 3
"""
VIEWS = """
SELECT v.table_name, c.column_name FROM information_schema.views v
JOIN information_schema.columns c
ON c.table_schema = v.table_schema AND c.table_name = v.table_name
WHERE v.table_schema = DATABASE() ORDER BY c.ordinal_position
"""
# Refused in place, and with LOCK=NONE; MariaDB takes the word INSTANT for it and copies as well.
COPIED = re.compile(
    r"\b(?:PARTITION\s+BY|REMOVE\s+PARTITIONING|(?:COALESCE|REORGANIZE)\s+PARTITION)\b", re.I
)
LIMIT = "SELECT @@SESSION.lock_wait_timeout"


def make_reader(connection: Connection) -> "MySQLReader":
    (row,) = read(connection, "SELECT VERSION()")
    return MySQLReader(is_mariadb="mariadb" in str(row[0]).lower())


class MySQLReader:
    """Runs each ALTER in the gentlest form, and compares the schema before and after."""

    def __init__(self, *, is_mariadb: bool) -> None:
        self._forms = MARIADB if is_mariadb else MYSQL
        self._existed: set[str] = set()
        self._tables: Tables = {}
        self._views: dict[str, list[str]] = {}
        self._keys: dict[tuple[str, ...], str] = {}
        self._form: Form | None = None

    def begin_revision(self, connection: Connection) -> None:
        self._look(connection)
        self._existed = {*self._tables, *self._views}

    def before_statement(self, connection: Connection, statement: Statement) -> str:
        sql = str(statement["sql"])
        self._form = None
        words = COMMENTS.sub("", sql, count=1).rstrip().rstrip(";")
        if statement["parameters"] or not is_alter(words):
            return sql
        given = {name: pattern.search(words) for name, pattern in CHOSEN.items()}
        if given["ALGORITHM"] or given["LOCK"]:
            algorithm, lock = (found[1].upper() if found else None for found in given.values())
            self._form = (algorithm or "", lock)
            return sql
        if COPIED.search(words):
            self._form = ("COPY", "SHARED")
            return sql
        # Drivers take a doubled percent sign for one when they are given parameters.
        plain = words.replace("%%", "%")
        for form in self._forms:
            try:
                read(connection, in_form(plain, form))
            except Exception as error:
                if number_of(error) not in REFUSED:
                    return sql  # wrong in any form: for the statement itself to say
            else:
                self._form = form
                return "DO 0"  # it is done
        return sql

    def after_statement(self, connection: Connection, statement: Statement) -> None:
        statement["changes"] = []
        note_replaced(statement, self._tables)
        if self._form is not None:
            algorithm, lock = self._form
            statement["algorithm"] = algorithm or None
            statement["lock"] = lock or ("NONE" if algorithm == "INSTANT" else None)
        if first_word(statement["sql"]) not in CHANGES_SCHEMA:
            return
        before, keys, views = self._tables, self._keys, self._views
        self._look(connection)
        changes = changes_between(before, self._tables, statement["sql"])
        for table, name, kind in sorted(self._keys.keys() - keys.keys()):
            if table in before:
                key = {"what": "key-added", "table": table, "name": name, "kind": kind}
                changes.append({**key, "columns": self._keys[table, name, kind].split(",")})
        if first_word(statement["sql"]) == "DROP":
            gone = sorted(views.keys() - self._views.keys())
            changes += [{"what": "view-dropped", "table": view} for view in gone]
        changes += [
            {"what": "view-column-dropped", "table": view, "column": column}
            for view, columns in views.items()
            for column in columns
            if column not in self._views.get(view, columns)
        ]
        for change in changes:
            change["existed"] = change["table"] in self._existed
            if change["what"] == "table-renamed" and change["existed"]:
                self._existed.add(change["new"])
        statement["changes"] = changes
        statement["limits"] = {"lock_wait_timeout": str(read(connection, LIMIT)[0][0])}

    def after_error(self, _connection: Connection, statement: Statement) -> None:
        statement["changes"] = []

    def rolled_back(self, _connection: Connection) -> None:
        """Rows only: the schema is as the last statement left it."""

    def end_revision(self, _connection: Connection) -> None:
        """Nothing is held that the next revision could be blamed for."""

    def _look(self, connection: Connection) -> None:
        tables: Tables = {}
        for table, column, kind, nullable, default, extra in read(connection, COLUMNS):
            found = facts_of(text(kind), nullable == "YES", default, str(extra).upper())
            tables.setdefault(str(table), {})[str(column)] = found
        self._tables = tables
        self._views = {}
        for view, column in read(connection, VIEWS):
            self._views.setdefault(text(view), []).append(text(column))
        self._keys = {
            (text(table), text(name), text(kind)): text(columns)
            for table, name, kind, columns in read(connection, KEYS)
        }


def facts_of(kind: str, nullable: bool, default: str | bytes | None, extra: str) -> dict[str, Any]:
    """Of a column, in the words of information_schema; `extra` in capitals."""
    expression = "DEFAULT_GENERATED" in extra or "(" in text(default)
    generated = "GENERATED" in extra and "DEFAULT_GENERATED" not in extra
    filled = default not in (None, "NULL")  # MariaDB says NULL of a column that may have no value
    own = not (generated or filled or "AUTO_INCREMENT" in extra)
    return {
        "type": kind,
        "nullable": nullable,
        "default": not own,
        # In all rows that are there: a constant, or MySQL's own for NOT NULL.
        "one_value": (filled and not expression) or (own and not nullable),
    }


def is_alter(words: str) -> bool:
    return bool(ALTER.match(words) or CREATE_INDEX.match(words) or DROP_INDEX.match(words))


def in_form(words: str, form: Form) -> str:
    """The statement with an ALGORITHM and a LOCK."""
    algorithm, lock = form
    options = [f"ALGORITHM={algorithm}", *([f"LOCK={lock}"] if lock else [])]
    if CREATE_INDEX.match(words):
        return f"{words} {' '.join(options)}"
    dropped = DROP_INDEX.match(words)
    if dropped:
        # MariaDB's DROP INDEX takes no ALGORITHM.
        words = f"ALTER TABLE {dropped['table']} DROP INDEX {dropped['name']}"
    return f"{words}, {', '.join(options)}"


def number_of(error: Exception) -> int | None:
    """The server's number for an error; drivers put it first."""
    origin = getattr(error, "orig", None) or error
    first = origin.args[0] if origin.args else None
    return first if isinstance(first, int) else getattr(origin, "errno", None)


def text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
