"""Which columns a statement compares, sorts and reads, by sqlglot.

sqlglot is optional: the project need not have it, and without it there are no candidates.
"""

# ruff: noqa: ANN401  (a package that may be missing: its objects have no types here)

import importlib
import logging
from types import ModuleType
from typing import Any

from toolkit.database.urls import Kind
from toolkit.queries.plans.model import Place
from toolkit.queries.plans.query import Query

DIALECTS: dict[Kind, str] = {"postgresql": "postgres", "mysql": "mysql", "sqlite": "sqlite"}
VERSION = "30.30.0"
MISSING = (
    "sqlglot is not installed, so no indexes were tried: install it beside the project's packages,"
    f" pip install sqlglot=={VERSION} (nothing else needs it)"
)
EXPRESSIONS = (
    "Column", "Identifier", "Paren", "Literal", "Lower", "Upper",
    "Trim", "Length", "Abs", "Coalesce", "Cast", "DataType",
    "DataTypeParam", "Date", "TsOrDsToDate", "DateTrunc", "TimestampTrunc", "Extract",
    "Var", "JSONExtract", "JSONExtractScalar", "JSONPath", "JSONPathRoot", "JSONPathKey",
    "DPipe", "Add", "Sub", "Mul", "Div", "Mod",
    "Neg", "Substring",
)  # fmt: skip
"""What an index may compute."""


def load_sqlglot() -> tuple[ModuleType | None, str]:
    """sqlglot, and what to say about it: that it is missing, or another version."""
    try:
        sqlglot = importlib.import_module("sqlglot")
    except ImportError:
        return None, MISSING
    # It logs what it does not know; we judge by what comes back.
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    version = str(getattr(sqlglot, "__version__", "unknown"))
    if version.partition(".")[0] != VERSION.partition(".")[0]:
        return sqlglot, f"sqlglot {version} is installed; this was tried with {VERSION}"
    return sqlglot, ""


def slot_of(node: Any) -> int | None:
    """The position of a placeholder's value: `readable` has numbered them."""
    name = str(node.this or "")
    return int(name[1:]) if name[:1] == "p" and name[1:].isdigit() else None


class Unreadable(ValueError):
    """sqlglot does not understand the statement."""


class Parsed:
    """A statement as a tree."""

    def __init__(self, sqlglot: ModuleType, query: Query, kind: Kind) -> None:
        self.exp: Any = sqlglot.exp
        self.kind: Kind = kind
        self.query = query
        self.expressions = tuple(
            getattr(self.exp, name) for name in EXPRESSIONS if hasattr(self.exp, name)
        )
        try:
            self.tree: Any = sqlglot.parse_one(query.readable, dialect=DIALECTS[kind])
        except (sqlglot.errors.SqlglotError, RecursionError, ValueError) as error:
            raise Unreadable(type(error).__name__) from None

    def name(self, identifier: Any) -> str:
        """As the catalog has it: PostgreSQL folds what is not quoted."""
        if identifier is None:
            return ""
        if self.kind == "postgresql" and not identifier.args.get("quoted"):
            return str(identifier.name).lower()
        return str(identifier.name)

    def tables(self) -> set[Place]:
        """The tables that the statement names (common table expressions are none)."""
        ctes = {self.name(cte.args["alias"].this) for cte in self.tree.find_all(self.exp.CTE)}
        found = set()
        for table in self.tree.find_all(self.exp.Table):
            if isinstance(table.this, self.exp.Identifier):
                place = Place(self.name(table.args.get("db")), self.name(table.this))
                if place.schema or place.name not in ctes:
                    found.add(place)
        return found

    def unknown_functions(self) -> list[str]:
        """Calls of functions that sqlglot has no type for, or that stand in a schema."""
        found = []
        for call in self.tree.find_all(self.exp.Func):
            above = call.parent
            if isinstance(above, self.exp.Dot) and call is above.expression:
                found.append(f"{above.this.name}.{call.name or call.sql_name()}")
            elif isinstance(call, self.exp.Anonymous):
                found.append(str(call.name))
        return found

    def names_itself(self, schema: str) -> bool:
        """Does it write `schema.` where the same is meant without it?"""
        nodes = list(self.tree.find_all(self.exp.Table, self.exp.Column))
        qualified = [node for node in nodes if self.name(node.args.get("db")) == schema]
        others = {alias.name for alias in self.tree.find_all(self.exp.TableAlias)}
        tables = {node.name for node in nodes if isinstance(node, self.exp.Table)}
        ctes = {cte.alias for cte in self.tree.find_all(self.exp.CTE)}
        clash = schema in others | tables or any(node.name in ctes for node in qualified)
        return bool(qualified) and not clash

    def paging(self) -> tuple[int, int]:
        """OFFSET and LIMIT; 0 where there is none, or where it can't be told."""
        found = []
        for name in ("offset", "limit"):
            node = self.tree.args.get(name)
            value = node.expression if node is not None else None
            while isinstance(value, self.exp.Cast):
                value = value.this
            text = "0"
            if isinstance(value, self.exp.Literal):
                text = str(value.this)
            elif isinstance(value, self.exp.Placeholder):
                slot = slot_of(value)
                values = self.query.values
                text = str(values[slot]) if slot is not None and slot < len(values) else "0"
            found.append(int(text) if text.isdigit() else 0)
        return found[0], found[1]
