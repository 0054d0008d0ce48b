"""How a statement uses the columns of its tables: what index candidates are made of."""

from dataclasses import dataclass, field

from toolkit.queries.plans.model import Place


@dataclass(frozen=True)
class Term:
    """A column, or an expression over columns of one table that an index can hold."""

    sql: str
    column: bool
    columns: frozenset[str]


@dataclass(frozen=True)
class Constant:
    """A condition that is the same in every execution: what a partial index may ask for."""

    sql: str
    columns: frozenset[str]


@dataclass(frozen=True)
class Order:
    """One item of ORDER BY."""

    term: Term
    descending: bool
    nulls_first: bool


@dataclass
class Use:
    """One table in one SELECT (or UPDATE, DELETE) of a statement."""

    schema: str
    """As the statement writes it; empty where it does not."""
    name: str
    equal: list[Term] = field(default_factory=list)
    """Compared with a value."""
    many: list[Term] = field(default_factory=list)
    """Compared with a list of values (IN, ANY)."""
    joined: list[Term] = field(default_factory=list)
    """Compared with a column of another table."""
    ranges: list[Term] = field(default_factory=list)
    prefix: list[Term] = field(default_factory=list)
    """LIKE with a pattern that begins with text."""
    wildcard: list[Term] = field(default_factory=list)
    """LIKE with a pattern that begins with a wildcard, or ILIKE."""
    either: list["tuple[Use, ...]"] = field(default_factory=list)
    """For each OR over this table alone: the use that each side makes of it."""
    constants: list[Constant] = field(default_factory=list)
    order: list[Order] = field(default_factory=list)
    groups: list[Term] = field(default_factory=list)
    aggregated: bool = False
    """Only sums, counts and the like of the rows are asked for."""
    needed: set[str] | None = field(default_factory=set)
    """Columns that are read; None where all are."""

    @property
    def place(self) -> Place:
        return Place(self.schema, self.name)
