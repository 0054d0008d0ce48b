"""In the process of a proof on a private server: what a statement takes for granted is made first.

Loaded by path, like the guard. It asks a function of the server's administrator
(`private_rights.py`) for an extension, for roles or for a schema, and then lets the server
judge the statement.
"""

# ruff: noqa: ANN401  (the connections and parameters of many drivers)

import re
from collections.abc import Collection
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

NAME = r"(?:\"(?:[^\"]|\"\")+\"|`[^`]+`|[^\W\d][\w$]*)"
EXTENSION = re.compile(
    rf"\A\s*CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>{NAME})"
    rf"(?:\s+WITH)?(?:\s+SCHEMA\s+(?P<schema>{NAME}))?"
    rf"(?:\s+VERSION\s+'?(?P<version>[\w.-]+)'?)?",
    re.IGNORECASE,
)
# Only in statements about rights is a name behind TO or FROM a role's.
RIGHTS = re.compile(
    r"\b(?:GRANT|REVOKE|OWNER\s+TO|AUTHORIZATION|POLICY|(?:SET|ALTER|DROP|COMMENT\s+ON|FOR)\s+ROLE"
    r"|(?:DROP|REASSIGN)\s+OWNED)\b",
    re.IGNORECASE,
)
OWNERS = re.compile(r"\b(?:OWNER\s+TO|AUTHORIZATION)\b", re.IGNORECASE)
ROLES = re.compile(
    rf"\b(?:TO|FROM|BY|AUTHORIZATION|ROLE|GROUP)\s+(?P<names>{NAME}(?:\s*,\s*{NAME})*)",
    re.IGNORECASE,
)
MEMBERSHIP = re.compile(
    rf"\b(?:GRANT|REVOKE)\s+(?P<names>{NAME}(?:\s*,\s*{NAME})*)\s+(?:TO|FROM)\b", re.IGNORECASE
)
MADE = re.compile(
    rf"\bCREATE\s+(?:ROLE|USER|GROUP)\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>{NAME})", re.IGNORECASE
)
NO_ROLES = {"public", "current_user", "session_user", "current_role", "none", "default", "if"}
# A name before a dot in one of these places is a schema's, and no alias.
SCHEMAS = re.compile(
    rf"\b(?:TABLE|INTO|FROM|JOIN|UPDATE|REFERENCES|EXISTS|VIEW|DESCRIBE|DESC|TRIGGER|PROCEDURE"
    rf"|FUNCTION|CALL)\s+(?P<name>{NAME})\s*\.\s*(?:{NAME}|\*)",
    re.IGNORECASE,
)
# There ON is no join's, whose names are those of aliases.
ON = re.compile(
    rf"\A\s*(?:CREATE|DROP|GRANT|REVOKE|RENAME)\b.*?\b(?:ON|TO)\s+(?P<name>{NAME})\s*\.",
    re.IGNORECASE | re.DOTALL,
)
SHOWN = re.compile(
    rf"\A\s*SHOW\s+.*\b(?:FROM|IN)\s+(?P<name>{NAME})\s*(?:LIKE\b.*)?\Z", re.I | re.S
)
NEW_SCHEMA = re.compile(
    rf"\bCREATE\s+(?:DATABASE|SCHEMA)\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>{NAME})", re.IGNORECASE
)
SYSTEM = {"mysql", "sys", "information_schema", "performance_schema"}


def install(family: str, kinds: Collection[str]) -> None:
    """Look at each statement of each engine of this process for these kinds of things."""
    looker = Postgres(kinds) if family == "postgresql" else MySQL()

    def before(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> Any:
        return looker.before(connection, statement), parameters

    event.listen(Engine, "before_cursor_execute", before, retval=True)


class Postgres:
    def __init__(self, kinds: Collection[str]) -> None:
        self.kinds = kinds

    def before(self, connection: Any, statement: str) -> str:
        """The statement to run, which is another one only for an extension that was made."""
        found = EXTENSION.match(statement)
        if found and "extensions" in self.kinds:
            name, schema, version = (plain(found[part]) for part in ("name", "schema", "version"))
            within = literal(schema) if schema else "current_schema()"
            wanted = f"{literal(name)}, {within}, {literal(version)}"
            made = ask(connection, f"SELECT pg_catalog.alembic_scratch_extension({wanted})")
            if made and made[0][0]:
                return f"CREATE EXTENSION IF NOT EXISTS {found['name']}"
        elif "roles" in self.kinds and RIGHTS.search(statement):
            listed = ", ".join(literal(name) for name in roles_in(statement))
            owners = str(OWNERS.search(statement) is not None)
            wanted = f"ARRAY[{listed}]::text[], {owners}"
            ask(connection, f"SELECT pg_catalog.alembic_scratch_roles({wanted})")
        return statement


def roles_in(statement: str) -> list[str]:
    """The roles that it names and does not create itself."""
    made = {plain(found["name"]) for found in MADE.finditer(statement)}
    named = (
        plain(name)
        for found in (*ROLES.finditer(statement), *MEMBERSHIP.finditer(statement))
        for name in re.findall(NAME, found["names"])
    )
    return [name for name in dict.fromkeys(named) if name and name not in made | NO_ROLES]


class MySQL:
    def __init__(self) -> None:
        self.known: set[str] = set()

    def before(self, connection: Any, statement: str) -> str:
        """The statement as it is."""
        if found := NEW_SCHEMA.search(statement):
            self.need(connection, found["name"], make=False)
            return statement
        for pattern in (SCHEMAS, ON, SHOWN):
            for found in pattern.finditer(statement):
                self.need(connection, found["name"], make=True)
        return statement

    def need(self, connection: Any, quoted: str, *, make: bool) -> None:
        name = quoted.strip("`")
        if name not in self.known and name.lower() not in SYSTEM:
            ask(
                connection,
                f"CALL alembic_scratch_tools.need_schema({literal(name)}, {int(make)})",
            )
            if make:
                self.known.add(name)


def ask(connection: Any, question: str) -> list[Any]:
    """Past SQLAlchemy: neither recorded nor seen by the project's own events."""
    cursor = connection.connection.dbapi_connection.cursor()
    try:
        cursor.execute(question)
        return list(cursor.fetchall()) if cursor.description is not None else []
    finally:
        cursor.close()


def plain(name: str | None) -> str | None:
    """An identifier as the server has it."""
    if name is None:
        return None
    if name.startswith('"'):
        return name[1:-1].replace('""', '"')
    return name.lower()


def literal(value: str | None) -> str:
    if value is None:
        return "NULL"
    return "'" + value.replace("\\", "").replace("'", "''") + "'"
