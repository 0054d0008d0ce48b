"""Why a proof failed for want of something that its place does not have, and what to do."""

import re

from toolkit.database.places import install_line
from toolkit.database.scratch import Scratch

SCHEMA = re.compile(
    r"(?:denied .*(?:to database|for (?:table|routine)) ['`](?P<name>[\w$-]+)"
    r"|Unknown database '(?P<new>[\w$-]+)')"
)
ABSENT = re.compile(
    r"(?P<what>(?:extension|access method) \"[\w.-]+\") (?:does not exist|is not available)"
    r"|(?P<collation>Unknown collation: '\w+')"
)
# As likely the migration's own fault.
PERHAPS = re.compile(r"(?P<what>type \"[\w.-]+\") does not exist")
RIGHT = re.compile(
    r"permission denied|must be (?:a )?(?:superuser|owner|member)|reaches out of the server"
    r"|denied; you need|command denied|Access denied"
)


def lacking(message: str, scratch: Scratch, own: str | None, *, sure: bool) -> str | None:
    """A remedy for this error of the server; None if it is the migration's own fault.

    `own` is the name of the project's own server. `sure`: not where it may be both.
    """
    if scratch.kind == "sqlite":
        return None
    elsewhere = f"--scratch-on {own}" if own else "SCRATCH_DATABASE_URL"
    if not scratch.private:
        return not_on_shared(message, scratch)
    if found := ABSENT.search(message) or (None if sure else PERHAPS.search(message)):
        what = next(filter(None, found.groups()))
        if what.startswith(("type", "access method")):
            # The programs may well have it; a new database has what the migrations make (#11).
            return (
                f"No migration makes it: {what}. If it is an extension's, the first revision has to"
                " make that: op.execute('CREATE EXTENSION IF NOT EXISTS ...'). Where there is none"
                " yet: setup-alembic.sh --no-prove, then `alembic revision -m extensions`. Or let"
                f" the proof run on a server whose template1 has it: {elsewhere}."
            )
        return (
            f"The private server does not have it: {what}. Install it for the server's programs on"
            f" this machine, or let the proof run on a server that has it: {elsewhere}."
        )
    if RIGHT.search(message):
        return (
            "A proof has no right over its server: a superuser's could run programs on this"
            " machine. What only a superuser can do belongs to the making of the server, not into"
            " a migration."
        )
    return None


def not_on_shared(message: str, scratch: Scratch) -> str | None:
    room = (
        f"A private server has room for it: {install_line(scratch.kind)}, and leave --scratch-on"
        " and SCRATCH_DATABASE_URL out."
    )
    found = SCHEMA.search(message)
    if scratch.kind == "mysql" and found:
        name = found["name"] or found["new"]
        return f"It reaches the schema {name}, which is another database of that server. {room}"
    if RIGHT.search(message):
        return f"The role of a proof has no right there beyond the scratch database. {room}"
    return None
