"""Revision files from steps: each step is lines for upgrade() and lines for downgrade().

What a file needs of helpers is written into it. A revision is history: it must run in a year as
it does today, so it imports neither the application nor this tool.
"""

import hashlib
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.engine import make_url

from toolkit.migration.expand_contract.helpers import HELPERS
from toolkit.report import quoting

LONGEST_ID = 32  # alembic_version.version_num is VARCHAR(32)
LONGEST_NAME = 63
LINE = 80  # what is written gets indented
DIALECTS = {
    name: make_url(f"{name}://").get_dialect()() for name in ("postgresql", "mysql", "sqlite")
}


@dataclass(frozen=True)
class RevisionText:
    """One file for versions/."""

    revision: str
    down_revision: str | None
    deploy: str
    """What must be deployed before this revision runs, in words."""
    text: str
    kind: str = "expand"
    title: str = ""
    expected: frozenset[str] = frozenset()
    """Rules of the review that say no more than what this revision is for."""

    @property
    def file(self) -> str:
        return f"{self.revision}.py"


@dataclass(frozen=True)
class Step:
    """One thing to do, and its undoing. `constants` are module-level assignments."""

    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    helpers: frozenset[str] = frozenset()

    def reversed(self) -> "Step":
        return Step(self.down, self.up, self.constants, self.helpers)


@dataclass(frozen=True)
class Part:
    """What one revision does; `kind` is expand, backfill or contract."""

    kind: str
    title: str
    deploy: str
    steps: tuple[Step, ...]
    notes: str = ""
    downgrade_note: str = ""
    expected: frozenset[str] = frozenset()
    """As of `RevisionText`."""


RIGHTS = """\
DO $$
DECLARE given record;
BEGIN
    FOR given IN
        SELECT privilege_type, is_grantable,
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS who
        FROM pg_attribute, aclexplode(attacl)
        WHERE attrelid = <table>::regclass AND attname = <column>
    LOOP
        EXECUTE format('GRANT %s (%I) ON %s TO %s', given.privilege_type,
            <copy>, <table>, given.who
            || CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
    EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', <table>, <copy>,
        (SELECT col_description(attrelid, attnum) FROM pg_attribute
         WHERE attrelid = <table>::regclass AND attname = <column>));
END $$"""


VIEW_RIGHTS = """\
DO $$
DECLARE given record;
BEGIN
    FOR given IN
        SELECT privilege_type, is_grantable, '' AS listed,
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS who
        FROM pg_class, aclexplode(relacl)
        WHERE oid = <table>::regclass AND grantee <> relowner
        UNION ALL
        SELECT privilege_type, is_grantable, format('(%I)', attname),
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_attribute, aclexplode(attacl)
        WHERE attrelid = <table>::regclass
    LOOP
        EXECUTE format('GRANT %s %s ON %s TO %s', given.privilege_type, given.listed,
            <view>, given.who || CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION'
            ELSE '' END);
    END LOOP;
END $$"""


def view_rights(table: str, view: str) -> str:
    """PostgreSQL: what people were granted on the table, for a view of it, too. Both are quoted."""
    of, to = map(quoting.literal, (table, view))
    return VIEW_RIGHTS.replace("<table>", of).replace("<view>", to)


def copied_rights(table: str, column: str, copy: str) -> str:
    """PostgreSQL: what people were granted on the column, and its comment, for its copy, too.

    Only the server knows them. `table` is quoted, the columns are not.
    """
    on, own, other = map(quoting.literal, (table, column, copy))
    return RIGHTS.replace("<table>", on).replace("<column>", own).replace("<copy>", other)


def quote(name: str, dialect: str) -> str:
    # Doubled for drivers; op.execute does that itself.
    return str(DIALECTS[dialect].identifier_preparer.quote(name)).replace("%%", "%")


def quoted(name: str, schema: str | None, dialect: str) -> str:
    return ".".join(quote(part, dialect) for part in (schema, name) if part)


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """The name, or what fits of it with a mark that keeps it apart from others."""
    if len(name) <= longest:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{name[: longest - 7]}_{mark}"


def sql_text(statement: str) -> str:
    """A statement for op.execute, to which `:word` is a parameter."""
    return re.sub(r"(?<![:\w\\]):(?=\w+(?!:))", r"\\:", statement)


def literal(statement: str) -> str:
    """A Python literal; with line breaks, a triple-quoted one that begins on a new line."""
    statement = sql_text(textwrap.dedent(statement).strip())
    if "\n" not in statement:
        return in_pieces(statement)
    body = statement.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""\n{body}\n"""'


def string(value: str) -> str:
    """A literal in double quotes, as formatters write it."""
    plain = repr(value)
    if '"' in value or plain.startswith('"'):
        return plain
    return f'"{plain[1:-1]}"'.replace("\\'", "'")


def in_pieces(value: str) -> str:
    """A literal; a long one as strings of one line each, which Python joins."""
    words = re.split(r"(?<= )(?=\S)", value)
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > LINE:
            lines.append("")
        lines[-1] += word
    return "\n".join(string(line) for line in lines)


def call(function: str, *arguments: str) -> str:
    """A call in one line if it fits, else with an argument on each."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= LINE and "\n" not in line:
        return line
    if len(arguments) == 1 and arguments[0].startswith('"""'):
        return f"{function}(\n{textwrap.indent(arguments[0], '    ')}\n)"
    comma = "," if len(arguments) > 1 else ""
    inside = ",\n".join(arguments)
    return f"{function}(\n{textwrap.indent(inside, '    ')}{comma}\n)"


def execute(statement: str) -> str:
    return call("op.execute", literal(statement))


def changes(dialect: str, *lines: str) -> tuple[str, ...]:
    """Lines that change a schema. MySQL waits for its lock at each of them."""
    if dialect == "mysql":
        return tuple(call("patiently", f"lambda: {line}") for line in lines)
    return lines


def write(
    parts: Iterable[Part],
    *,
    slug: str,
    dialect: str,
    parent: str | None,
    needs: Iterable[str] = (),
) -> list[RevisionText]:
    """The parts as a linear chain of files on top of `parent`.

    `needs` are import lines for types of others; each goes where it is used.
    """
    parts = list(parts)
    written: list[RevisionText] = []
    for number, part in enumerate(parts, start=1):
        suffix = f"_{part.kind}"
        if sum(other.kind == part.kind for other in parts) > 1:
            suffix += str(number)
        revision = short(slug, LONGEST_ID - len(suffix)) + suffix
        title = f"{part.title}, step {number} of {len(parts)}." if len(parts) > 1 else part.title
        text = write_one(part, title, revision, parent, dialect=dialect, needs=needs)
        written.append(
            RevisionText(revision, parent, part.deploy, text, part.kind, part.title, part.expected)
        )
        parent = revision
    return written


def write_one(
    part: Part,
    title: str,
    revision: str,
    parent: str | None,
    *,
    dialect: str,
    needs: Iterable[str],
) -> str:
    up = locked_once([line for step in part.steps for line in step.up])
    down = locked_once([line for step in reversed(part.steps) for line in step.down])
    constants = list(dict.fromkeys(c for step in part.steps for c in step.constants))
    names = frozenset[str]().union(*(step.helpers for step in part.steps))
    helpers = [HELPERS[dialect, name] for name in needed(names, "\n".join(up + down), dialect)]
    body = "\n\n\n".join([*helpers, function("upgrade", up), function("downgrade", down, part)])
    body = "\n" + ("\n".join(constants) + "\n\n\n" if constants else "\n") + body
    doc = textwrap.dedent(part.notes).strip()
    head = [
        f'"""{title}' + ("." if not title.endswith(".") else ""),
        "",
        *wrapped(f"Deploy first: {part.deploy}"),
        *(line for line in doc.splitlines()),
        '"""',
        "",
        *imports(body, needs),
        "",
        f'revision: str = "{revision}"',
        f"down_revision: str | Sequence[str] | None = {string(parent) if parent else None}",
        "branch_labels: str | Sequence[str] | None = None",
        "depends_on: str | Sequence[str] | None = None",
        "",
    ]
    return "\n".join(head) + body + "\n"


def locked_once(lines: list[str]) -> list[str]:
    """Without the locks that the transaction has already."""
    held: set[str] = set()
    kept: list[str] = []
    for line in lines:
        if "autocommit_block" in line or line == "fill()":
            held.clear()
        if line in held:
            continue
        if line.startswith("lock("):
            held.add(line)
        kept.append(line)
    return kept


def wrapped(words: str) -> list[str]:
    return textwrap.wrap(words, 99, break_long_words=False)


def function(name: str, lines: list[str], part: Part | None = None) -> str:
    note = part.downgrade_note if part else ""
    inside = [f'"""{note}"""'] if note else []
    inside += lines
    if not inside:
        inside = ['"""Nothing to undo."""']
    return f"def {name}() -> None:\n" + "\n".join(indented(line) for line in inside)


def indented(line: str) -> str:
    """One statement, indented; the lines of a long text in it as well."""
    return textwrap.indent(line, "    ", lambda part: bool(part.strip()))


def imports(body: str, needs: Iterable[str] = ()) -> list[str]:
    standard = [
        line
        for word, line in (
            ("logging.", "import logging"),
            ("time.", "import time"),
        )
        if word in body
    ]
    abc = "Callable, Sequence" if "Callable[" in body else "Sequence"
    own = ["import sqlalchemy as sa"] if "sa." in body else []
    own.append("from alembic import op")
    if "CommandError" in body:
        own.append("from alembic.util import CommandError")
    if re.search(r"\b(postgresql|mysql|sqlite)\.\w", body):
        kinds = sorted(set(re.findall(r"\b(postgresql|mysql|sqlite)\.\w", body)))
        own.append(f"from sqlalchemy.dialects import {', '.join(kinds)}")
    if "DBAPIError" in body:
        own.append("from sqlalchemy.exc import DBAPIError")
    own += [line for line in needs if line not in own and is_used(line, body)]
    return [*standard, f"from collections.abc import {abc}", "", *own]


def is_used(line: str, body: str) -> bool:
    """Does one of the names that this import gives occur?"""
    if line.startswith("from sqlalchemy.dialects import"):
        return False  # seen by itself
    names = line.rpartition("import ")[2].split(",")
    given = (name.rpartition(" as ")[2].strip() for name in names)
    return any(re.search(rf"\b{re.escape(name)}\b", body) for name in given)


def needed(named: frozenset[str], lines: str, dialect: str) -> list[str]:
    """The helpers in the order in which they use each other."""
    used = set(named)
    for name in ("fill", "lock", "patiently"):
        text = lines + "".join(HELPERS.get((dialect, one), "") for one in used)
        if re.search(rf"\b{name}\(", text) and (dialect, name) in HELPERS:
            used.add(name)
    return [name for name in ("patiently", "lock", "fill") if name in used]
