"""Tables, candidates for indexes, and limits, as plain values."""

import hashlib
import re
from dataclasses import dataclass, field, replace

from toolkit.database.urls import Kind
from toolkit.queries.finding import Index, QueryFinding
from toolkit.queries.plans.measure import Measured

NAME_BYTES = 63
PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
CALL = re.compile(r"(?!cast\b)[a-z_]\w*\([^()]*\)")
"""One call of a function, which CREATE INDEX takes without parentheses around it."""
# Words that no database here takes as a bare column name, or that one of them does not.
RESERVED = frozenset((
    "all", "alter", "analyse", "analyze", "and", "any", "array", "as", "asc", "between", "both",
    "by", "case", "cast", "check", "collate", "column", "constraint", "create", "cross",
    "current_date", "current_time", "current_timestamp", "current_user", "database", "default",
    "delete", "desc", "distinct", "do", "drop", "else", "end", "except", "exists", "false",
    "fetch", "for", "foreign", "from", "full", "grant", "group", "having", "in", "index",
    "inner", "insert", "intersect", "interval", "into", "is", "join", "key", "keys", "lateral",
    "leading", "left", "like", "limit", "localtime", "localtimestamp", "lock", "match",
    "natural", "not", "null", "of", "offset", "on", "only", "or", "order", "outer", "partition",
    "placing", "primary", "range", "rank", "read", "references", "release", "repeat", "replace",
    "returning", "right", "row", "rows", "select", "session_user", "set", "show", "some",
    "system", "table", "then", "to", "trailing", "trigger", "true", "union", "unique", "update",
    "usage", "user", "using", "values", "variadic", "view", "when", "where", "window", "with",
    "write",
))  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What the layer may cost."""

    statements: int = 30
    """Shapes that are looked at."""
    copy_bytes: int = 512 * 1024 * 1024
    """Of all tables together; larger ones are sampled."""
    seconds: float = 180.0
    """For everything; what was measured until then is reported."""
    statement_seconds: float = 10.0
    """For one statement, on the scratch copy and on the given database."""
    runs: int = 5
    """The most runs of a statement of which the quickest counts."""
    candidates: int = 6
    """Indexes that are built for one table of one statement."""


@dataclass(frozen=True)
class PlansReport:
    """What became of the layer."""

    findings: tuple[QueryFinding, ...] = ()
    measured: tuple[Measured, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out, one line each."""
    skipped: str | None = None
    """Why (a part of) the layer did not run, with what to do about it."""


@dataclass(frozen=True, order=True)
class Place:
    """A table: its schema (empty in SQLite and MySQL) and name, as the catalog writes them."""

    schema: str
    name: str


@dataclass(frozen=True)
class Column:
    """A column as index candidates need it."""

    name: str
    type: str
    distinct: float | None = None
    """Values that differ, by the database's statistics; None: unknown."""
    enum: bool = False


@dataclass(frozen=True)
class ExistingIndex:
    """An index that is there."""

    name: str
    keys: tuple[str, ...]
    """As `Key.text` writes them."""
    unique: bool = False
    method: str = "btree"
    where: str = ""
    include: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """What is known of a table that a statement names."""

    place: Place
    columns: dict[str, Column]
    indexes: tuple[ExistingIndex, ...]
    rows: int
    bytes: int
    written: str = ""
    """Its schema as DDL has to name it; empty where the search path finds it."""
    taken: frozenset[str] = frozenset()
    """Names that a new index may not have."""


@dataclass(frozen=True)
class Key:
    """One key of an index: a column or an expression of columns of one table."""

    sql: str
    """A column's bare name, or the expression with its columns quoted where needed."""
    column: bool = True
    descending: bool = False
    nulls_first: bool = False
    """As the database orders them; PostgreSQL's default is first when descending."""
    explicit_nulls: bool = False
    opclass: str = ""

    @property
    def text(self) -> str:
        """As CREATE INDEX has it, without the operator class."""
        text = quoted(self.sql) if self.column else self.sql
        if not self.column and not CALL.fullmatch(self.sql):
            text = f"({text})"
        if self.descending:
            text += " DESC"
        if self.explicit_nulls:
            text += " NULLS FIRST" if self.nulls_first else " NULLS LAST"
        return text


@dataclass(frozen=True)
class Candidate:
    """An index that may help a statement."""

    place: Place
    keys: tuple[Key, ...]
    include: tuple[str, ...] = ()
    where: str = ""
    method: str = "btree"

    @property
    def width(self) -> int:
        """Columns that every write has to carry into it."""
        return len(self.keys) + len(self.include)

    def named(self, table: Table, kind: Kind) -> Index:
        """The index with the name that the project's naming convention gives it."""
        return Index(
            name=index_name(self, table),
            table=table.place.name,
            expressions=tuple(key.text for key in self.keys),
            schema=table.written or None,
            include=self.include,
            where=self.where,
            method="" if self.method == "btree" else self.method,
            opclass=self.keys[0].opclass if kind == "postgresql" else "",
        )


def index_name(candidate: Candidate, table: Table) -> str:
    """`ix_<table>_<columns>`, within 63 bytes and not taken."""
    parts = [table.place.name, *(key.sql.lower() for key in candidate.keys)]
    whole = "_".join(["ix", *(re.sub(r"\W+", "_", part).strip("_") for part in parts)])
    name = shortened(whole)
    number = 2
    while name in table.taken:
        name = shortened(f"{whole}_{number}")
        number += 1
    return name


def shortened(name: str) -> str:
    """Cut off names end alike: a digest keeps them apart."""
    if len(name.encode()) <= NAME_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    cut = name.encode()[: NAME_BYTES - 7].decode(errors="ignore").rstrip("_")
    return f"{cut}_{digest}"


def quoted(name: str, mark: str = '"') -> str:
    """An identifier, quoted only where it has to be."""
    if PLAIN.fullmatch(name) and name not in RESERVED:
        return name
    return mark + name.replace(mark, mark * 2) + mark


def create_index(index: Index, kind: Kind, *, concurrently: bool = False) -> str:
    """The statement that makes `index`."""
    mark = "`" if kind == "mysql" else '"'
    words = ["CREATE UNIQUE INDEX" if index.unique else "CREATE INDEX"]
    if concurrently and kind == "postgresql":
        words.append("CONCURRENTLY")
    table = quoted(index.table, mark)
    if index.schema:
        table = f"{quoted(index.schema, mark)}.{table}"
    words += [quoted(index.name, mark), "ON", table]
    if index.method:
        words.append(f"USING {index.method}")
    first, *rest = index.expressions
    keys = [f"{first} {index.opclass}".strip(), *rest]
    text = f"{' '.join(words)} ({', '.join(keys)})"
    if index.include:
        text += f" INCLUDE ({', '.join(quoted(name, mark) for name in index.include)})"
    if index.where:
        text += f" WHERE {index.where}"
    return text


def for_mysql(index: Index) -> Index:
    """The same as MySQL writes it: its own quotes, and parentheses around every expression."""
    texts = [one.replace('"', "`") for one in index.expressions]
    return replace(
        index, expressions=tuple(f"({one})" if CALL.fullmatch(one) else one for one in texts)
    )


@dataclass
class Notes:
    """Lines about what was left out; each once."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        if line not in self.lines:
            self.lines.append(line)
