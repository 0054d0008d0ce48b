"""Server defaults compared as texts, types as they are stored, whatever env.py the project has.

Loaded by path into the process that runs the project's code, like the guard. Alembic compares
none unless it is told to; then it asks PostgreSQL whether two are equal, which is an error for
json, point, a new value of an enum and an apostrophe, is never true of random(), and takes a
number from a sequence (#13). Here nothing is asked, and what PostgreSQL may have written in its
own words is not called a change: the comparison of whole schemas, which has both in PostgreSQL's
words, sees that one.
"""

import re
from contextlib import suppress
from typing import Any

from alembic.ddl._autogen import ComparisonResult
from alembic.ddl.mysql import MariaDBImpl, MySQLImpl
from alembic.ddl.postgresql import PostgresqlImpl
from alembic.ddl.sqlite import SQLiteImpl
from alembic.runtime.environment import EnvironmentContext
from alembic.util import sqla_compat
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DefaultClause,
    Dialect,
    Index,
    String,
    Table,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.exc import SQLAlchemyError

CAST = re.compile(  # outside of quotes
    r"""('(?:[^']|'')*')|::\s*(?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+))?(?: varying| precision)?"""
    r"(?:\(\d+(?:,\s*\d+)?\))?(?: with(?:out)? time zone)?(?:\[\])*"
)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def without_casts(default: str) -> str:
    return CAST.sub(lambda found: found[1] or "", default)


def value_of(default: str) -> str | None:
    """What it says, if it is one number, truth value or quoted text; None for an expression."""
    text = without_casts(default).strip("() ")
    quoted = re.fullmatch(r"'((?:[^']|'')*)'", text)
    if quoted:
        return quoted[1].replace("''", "'")
    text = {"true": "1", "false": "0"}.get(text.lower(), text)
    return text if NUMBER.fullmatch(text) else None


def words(default: str) -> set[str]:
    # MariaDB tells now() of a DATETIME(6) as current_timestamp(6).
    text = re.sub(r"\b(now|current_timestamp)\(\d\)", r"\1", without_casts(default).lower())
    found = re.findall(r"\w+|[][{}]", text)
    return {{"now": "current_timestamp"}.get(word, word) for word in found}


def differs(present: str, wanted: str, kind: Any, *, rewritten: bool) -> bool:  # noqa: ANN401
    """`rewritten`: the database shows an expression in words of its own."""
    one, other = value_of(present), value_of(wanted)
    if one is not None and other is not None:
        if one == other or isinstance(kind, String):
            return one != other
        one, other = ({"true": "1", "false": "0"}.get(text, text) for text in (one, other))
        if NUMBER.fullmatch(one) and NUMBER.fullmatch(other):
            return float(one) != float(other)
        if isinstance(kind, JSON):
            return "".join(one.split()) != "".join(other.split())
    before, after = words(present), words(wanted)
    return before != after and not (rewritten and (before <= after or before >= after))


def stored_alike(connection: Connection, there: Column[Any], wanted: Column[Any]) -> bool:
    """Would the column that is there have the same type if it were made anew?

    SQLite keeps any word, and reflection makes NUMERIC of BINARY; MySQL makes DOUBLE of FLOAT(53),
    TINYBLOB of BLOB(20). A series of revisions that change nothing would not end (#13).
    """
    name, dialect = connection.dialect.name, connection.dialect
    new, kind = f"_type_{id(wanted):x}", wanted.type.compile(dialect=dialect)
    if name == "sqlite":
        place = (there.table.name, there.table.schema or "main", there.name)
        ask = "SELECT type FROM pragma_table_info(?, ?) WHERE name = ?"
        return bool(connection.exec_driver_sql(ask, place).scalar() == kind)
    if name == "postgresql":
        ask = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
        ask += " WHERE attrelid = to_regclass(:of) AND attname = :name"
    else:
        ask = "SHOW COLUMNS FROM {} WHERE field = :name"
    rows = of_both(connection, there, new, kind, ask)
    if name != "postgresql":
        connection.exec_driver_sql(f"DROP TEMPORARY TABLE IF EXISTS {new}")
    answers = [row and row[-1 if name == "postgresql" else 1] for row in rows]
    return len(answers) == 2 and answers[0] is not None and answers[0] == answers[1]


def of_both(
    connection: Connection, there: Column[Any], new: str, definition: str, ask: str
) -> list[Any]:
    """What the server answers about the column that is there, and about one of this definition in
    the temporary table `new`; fewer than two rows where it refuses.
    """
    column = connection.dialect.identifier_preparer.quote(there.name)
    make = f"CREATE TEMPORARY TABLE {new} ({column} {definition})"
    rows = []
    with suppress(SQLAlchemyError), connection.begin_nested() as nested:
        connection.execute(text(make.replace(":", r"\:")))
        for of in (quoted(connection.dialect, there.table), new):
            asked = {"of": of, "name": there.name}
            rows.append(connection.execute(text(ask.format(of)), asked).first())
        nested.rollback()
    return rows


def quoted(dialect: Dialect, table: Table) -> str:
    quote = dialect.identifier_preparer.quote
    return ".".join(quote(part) for part in (table.schema, table.name) if part)


OWN = """
SELECT pg_get_expr(adbin, adrelid), attnotnull FROM pg_attribute LEFT JOIN pg_attrdef
ON attrelid = adrelid AND attnum = adnum
WHERE attrelid = to_regclass(:of) AND attname = :name
"""


def kept_alike(connection: Connection, there: Column[Any], wanted: str) -> bool:
    """Would PostgreSQL keep this default in the words of the one that is there?

    It writes false for 'f', 1000 for 1e3, '24:00:00' for 24 hours (#13).
    """
    kind = there.type.compile(dialect=connection.dialect)
    new = f"_default_{id(there):x}"
    rows = of_both(connection, there, new, f"{kind} DEFAULT {wanted}", OWN)
    answers = [row and row[0] for row in rows]
    return len(answers) == 2 and answers[0] == answers[1]


DEFAULT = """
SELECT CAST(column_default AS CHAR) FROM information_schema.columns WHERE column_name = :name
AND table_name = :of AND table_schema = COALESCE(:schema, DATABASE())
"""


def whole_default(inspector: Any, table: Table, column: Any) -> None:  # noqa: ANN401
    """SQLAlchemy reads none of MySQL's defaults with a comma or a quote in it, as concat('a', 'b')
    and b'0' have, and the half of one with a blank: a change that never ends (#13).
    """
    seen = column["default"]
    whole = seen and seen.count("(") == seen.count(")")
    if whole or inspector.dialect.name not in {"mysql", "mariadb"}:
        return
    place = {"name": column["name"], "of": table.name, "schema": table.schema}
    there = inspector.bind.scalar(text(DEFAULT), place)
    if there and there != "NULL":  # which is MariaDB's word for none
        if not inspector.dialect.is_mariadb:
            there = there.replace("\\'", "'")  # each quote there
        column["default"] = there if there.startswith("b'") else f"({there})"


def without_domain(inspector: Any, table: Table, column: Any) -> None:  # noqa: ANN401
    """SQLAlchemy reads a domain's NOT NULL and DEFAULT as the column's: a change that never ends,
    and a way back that gives the column both (#13).
    """
    if isinstance(column["type"], DOMAIN) and "computed" not in column:
        place = {"of": quoted(inspector.dialect, table), "name": column["name"]}
        default, required = inspector.bind.execute(text(OWN), place).one()
        column["nullable"], column["default"] = not required, default


class Quiet:
    """Not a callback of context.configure: Alembic calls one for generated columns, and fails."""

    asked = False
    """Does env.py itself compare defaults?"""

    def compare_type(self, reflected: Column[Any], column: Column[Any]) -> bool:
        """Alembic knows few of the words that a database has for one type: it is asked."""
        if not super().compare_type(reflected, column):  # type: ignore[misc]
            return False
        found: Connection | None = self.connection  # type: ignore[attr-defined]
        return found is None or not stored_alike(found, reflected, column)

    def _compare_identity_default(self, wanted: object, present: object) -> tuple[Any, Any, bool]:
        """SQLite and MySQL make none of what the models may say for PostgreSQL."""
        if not isinstance(self, PostgresqlImpl):
            return set(), set(), False
        kept = super()._compare_identity_default  # type: ignore[misc]
        found: tuple[Any, Any, bool] = kept(wanted, present)
        return found

    def compare_indexes(self, wanted: Index, reflected: Index) -> ComparisonResult:
        """SQLite and MySQL show `text("a DESC")` as the column a, which Alembic takes for another
        index. The comparison of whole schemas sees what is one (#13).
        """
        text = len(wanted.columns) < len(wanted.expressions)
        if text and not isinstance(self, PostgresqlImpl):
            return ComparisonResult.Equal()
        found: ComparisonResult = super().compare_indexes(wanted, reflected)  # type: ignore[misc]
        return found

    def compare_server_default(
        self, reflected: Column[Any], column: Column[Any], wanted: str | None, present: str | None
    ) -> bool:
        if isinstance(self, SQLiteImpl) and not SQLiteImpl.compare_server_default(
            self, reflected, column, wanted, present
        ):
            return False  # else it may have taken an apostrophe for the end of a text
        postgres = isinstance(self, PostgresqlImpl)
        table = column.table
        if postgres and column.primary_key and column is table.autoincrement_column:
            return False  # serial
        if wanted is None and not Quiet.asked and not self.compare_type(reflected, column):
            # A revision gave it to a column for the rows that were there, and code that runs
            # may lean on it: plain Alembic, which compares none, leaves it, too. With another
            # type it would be in the way.
            return False
        if wanted is None or present is None:
            filled = wanted is None and column.server_default is not None  # FetchedValue()
            return wanted != present and not filled
        truth = isinstance(reflected.type, Boolean) or isinstance(column.type, Boolean)
        if postgres and truth and self.compare_type(reflected, column):
            return True  # there a truth value is no number: the old default does not come back
        if isinstance(getattr(column.server_default, "arg", None), str):
            wanted = "'" + wanted.replace("'", "''") + "'"
        found: Connection | None = self.connection  # type: ignore[attr-defined]
        return differs(present, wanted, reflected.type, rewritten=postgres) and not (
            postgres and found is not None and kept_alike(found, reflected, wanted)
        )


def install() -> None:
    """From here on Alembic compares defaults this way, unless env.py says that it should not."""
    event.listen(Table, "column_reflect", whole_default)
    event.listen(Table, "column_reflect", without_domain)
    for impl in (
        PostgresqlImpl,
        MySQLImpl,
        MariaDBImpl,
        SQLiteImpl,
    ):  # a class that is made registers itself
        type(impl.__name__, (Quiet, impl), {"__dialect__": impl.__dialect__})
    of_identity = sqla_compat._server_default_is_identity

    def is_identity(*defaults: object) -> bool:
        # Alembic asserts that beside an identity there is no other default.
        mixed = any(isinstance(one, DefaultClause) for one in defaults)
        return not mixed and bool(of_identity(*defaults))

    sqla_compat._server_default_is_identity = is_identity
    original = EnvironmentContext.configure

    def configure(self: EnvironmentContext, *arguments: object, **options: object) -> None:
        Quiet.asked = bool(options.get("compare_server_default"))
        options.setdefault("compare_server_default", True)
        original(self, *arguments, **options)  # type: ignore[arg-type]

    EnvironmentContext.configure = configure  # type: ignore[method-assign]
