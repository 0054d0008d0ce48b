"""What may be planned on the given MySQL or MariaDB, and run on a copy of its tables.

A schema is a database there, and a stored function that writes may stand in any SELECT: EXPLAIN,
too, calls it, for a derived table. A statement reaches only tables of the given database and
functions of the server that give a value; what is in no list here is left out (#11).
"""

import re
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from toolkit.queries.plans.parse import Parsed
from toolkit.queries.plans.query import Query
from toolkit.queries.plans.words import COMMENTS, NAMES, STRINGS, words_of

ACTS = frozenset((
    "benchmark", "get_lock", "is_free_lock", "is_used_lock", "lastval", "load_file",
    "master_gtid_wait", "master_pos_wait", "nextval", "release_all_locks", "release_lock",
    "setval", "sleep", "source_pos_wait", "wait_for_executed_gtid_set",
    "wait_until_sql_thread_after_gtids",
))  # fmt: skip
"""Functions of the server that do more than give a value."""
# MariaDB lists what is its own; elsewhere what somebody added is known.
OWN = """
    SELECT function FROM information_schema.sql_functions
    UNION SELECT word FROM information_schema.keywords
"""
GEOMETRY = re.compile(
    r"(?:st_|mbr)\w+|point|linestring|polygon|multi\w+|geometrycollection", re.IGNORECASE
)
"""These are in no list of MariaDB's."""
ADDED = (
    "SELECT routine_name FROM information_schema.routines",
    "SELECT udf_name FROM performance_schema.user_defined_functions",
    "SELECT name FROM mysql.func",
)


@dataclass(frozen=True)
class Functions:
    """Names of functions on one server, in small letters."""

    own: frozenset[str]
    """Empty where the server does not tell."""
    added: frozenset[str]

    def is_new(self, name: str) -> bool:
        """Is it none of the server's own?"""
        known = self.own or {name.lower()}
        return name.lower() not in known and not GEOMETRY.fullmatch(name)


def read_functions(connection: Connection) -> Functions:
    def names(statement: str) -> frozenset[str]:
        with suppress(DBAPIError), connection.begin_nested():
            return frozenset(
                str(name).lower() for name in connection.execute(text(statement)).scalars()
            )
        return frozenset()

    return Functions(names(OWN), frozenset().union(*map(names, ADDED)))


def why_not(parsed: Parsed, functions: Functions) -> str:
    """Why the statement is neither planned nor run; empty where it is plain."""
    words = words_of(parsed.query, "mysql")
    if not words.understood:
        return "it has a comment that the server runs"
    # Of those that sqlglot knows from another database, somebody may have written one for this.
    acting = [name for name in sorted(words.calls) if name.lower() in ACTS | functions.added]
    acting += [one for one in parsed.unknown_functions() if "." in one or functions.is_new(one)]
    if acting:
        return f"it calls {acting[0]}, and what that does beyond giving a value is not known"
    if any(name.upper() == "DEFAULT" for name in words.names):
        return "it asks for a default, which the copy may not have"
    return ""


def within(query: Query, parsed: Parsed, database: str) -> Query:
    """The statement without the name of the given database, which the copy's is not."""
    if not parsed.names_itself(database):
        return query
    name = re.escape(database)
    own = rf"(?<![\w$.`])(?:`{name}`|{name})\s*\.\s*(?=[`\w])"
    others = rf"(?P<other>{STRINGS['mysql']} | {NAMES['mysql']} | {COMMENTS['mysql']})"
    pattern = re.compile(rf"(?:{own})|{others}", re.X | re.S)
    parts = tuple(pattern.sub(lambda found: found["other"] or "", one) for one in query.parts)
    return replace(query, parts=parts)
