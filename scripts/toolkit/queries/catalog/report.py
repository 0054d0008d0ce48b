"""What reading a catalog gives, and what the readers of all databases share."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL

from toolkit.database.sizes import in_units
from toolkit.queries.catalog.locate import Locator
from toolkit.queries.finding import Confidence, Fix, Index, Layer, QueryFinding

MANY_ROWS = 1000
"""In a smaller table, reading all of it costs about what an index costs."""
STATISTICS_DAYS = 7.0
"""Of statistics that are younger, "never used" says little: think of a weekly report."""


@dataclass(frozen=True)
class CatalogReport:
    findings: tuple[QueryFinding, ...]
    database: str
    """`PostgreSQL 15.18`."""
    notes: tuple[str, ...] = ()
    """What was not judged and why, one honest line each."""


@dataclass(frozen=True)
class Table:
    """A table, with what the server estimates."""

    name: str
    schema: str | None
    """None for the default one: `public`, the current database."""
    rows: int
    bytes: int
    analysed: bool = True
    """False where nobody has counted yet, so that `rows` is a guess from the size."""

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def is_tiny(self) -> bool:
        return self.rows < MANY_ROWS

    def __str__(self) -> str:
        return f"{self.full_name}: about {self.rows:,} rows, {in_units(self.bytes)}"


@dataclass(frozen=True)
class Key:
    """One key of an index: what has to be equal for two indexes to serve the same."""

    text: str
    """A column, or an expression as the database writes it."""
    column: str | None
    """None for an expression."""
    details: tuple[object, ...] = ()
    """Operator class, collation, direction, length: whatever the database has."""


@dataclass(frozen=True)
class TableIndex:
    """An index that is there."""

    name: str
    table: Table
    keys: tuple[Key, ...]
    method: str = "btree"
    unique: bool = False
    constraint: bool = False
    """Behind a primary key, a unique or an exclusion constraint, or a replica identity."""
    valid: bool = True
    where: str = ""
    include: tuple[str, ...] = ()
    bytes: int = 0
    scans: int | None = None
    """Since the statistics began; None where nobody counts."""
    order: int = 0
    """The younger of two equal ones has the larger."""
    definition: str = ""

    @property
    def columns(self) -> list[str | None]:
        return [key.column for key in self.keys]


@dataclass(frozen=True)
class ForeignKey:
    name: str
    table: Table
    columns: tuple[str, ...]
    parent: str
    on_delete: str
    parent_deletes: int | None = None
    """Rows deleted from the parent since the statistics began."""


@dataclass
class Reader:
    """Collects what one run finds."""

    connection: Connection
    url: URL
    locator: Locator
    statistics_days: float = STATISTICS_DAYS
    findings: list[QueryFinding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """The result of a statement without parameters and without `%`, which drivers take
        for the beginning of one.
        """
        return [tuple(row) for row in self.connection.exec_driver_sql(statement)]

    def add(
        self,
        rule: str,
        confidence: Confidence,
        message: str,
        *,
        evidence: Sequence[str] = (),
        table: Table | None = None,
        column: str | None = None,
        index: str | None = None,
        fix: Fix | None = None,
    ) -> None:
        file, line = None, None
        if table is not None:
            file, line = self.locator.place(table.name, column, index)
        self.findings.append(
            QueryFinding(
                rule=rule,
                layer=Layer.CATALOG,
                confidence=confidence,
                message=message,
                evidence=tuple(evidence),
                file=file,
                line=line,
                table=table.full_name if table else None,
                fix=fix,
            )
        )


Quote = Callable[[str], str]


def quoter(dialect: str) -> Quote:
    """Quotes a name where the dialect needs it."""
    preparer = registry.load(dialect)().identifier_preparer
    return lambda name: str(preparer.quote(name))


def create(index: Index, quote: Quote, *, concurrently: bool) -> Fix:
    """The fix that makes an index of plain columns."""
    table = ".".join(quote(part) for part in (index.schema, index.table) if part)
    columns = ", ".join(index.expressions)
    how = "CONCURRENTLY " if concurrently else ""
    return Fix("ddl", f"CREATE INDEX {how}{quote(index.name)} ON {table} ({columns});", index)


def drop(index: TableIndex, quote: Quote, dialect: str) -> Fix:
    """The fix that takes an index away; it holds what is needed to make it again."""
    schema = index.table.schema
    name = ".".join(quote(part) for part in (schema, index.name) if part)
    if dialect == "postgresql":
        text = f"DROP INDEX CONCURRENTLY {name};"
    elif dialect == "mysql":
        text = f"ALTER TABLE {quote(index.table.name)} DROP INDEX {quote(index.name)};"
    else:
        text = f"DROP INDEX {name};"
    if index.definition:
        text += f"\n-- to have it again: {index.definition};"
    described = Index(
        name=index.name,
        table=index.table.name,
        expressions=tuple(key.text for key in index.keys),
        schema=schema,
        include=index.include,
        where=index.where,
        method="" if index.method == "btree" else index.method,
        unique=index.unique,
        drop=True,
    )
    return Fix("ddl", text, described)


def index_name(table: str, columns: Sequence[str]) -> str:
    """SQLAlchemy's usual name, cut to what PostgreSQL keeps (63 bytes, MySQL 64)."""
    name = f"ix_{table}_{'_'.join(columns)}"
    return (
        name
        if len(name.encode()) <= 60
        else f"{name[:51]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )
