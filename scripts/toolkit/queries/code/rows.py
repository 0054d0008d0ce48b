"""More rows than needed: counting by fetching, OFFSET, lists without an end, LIKE '%x'."""

import ast
import re
from collections.abc import Iterator

from toolkit.project.imports import dotted
from toolkit.queries.code.context import Context
from toolkit.queries.code.models import Model
from toolkit.queries.code.queries import method
from toolkit.queries.code.routes import one_of_list
from toolkit.queries.code.sessions import READS
from toolkit.queries.code.source import annotations_of, names_in
from toolkit.queries.finding import QueryFinding

_FETCHES = {"all", "fetchall"}
_LIKE = {"like", "ilike", "contains", "endswith", "icontains", "iendswith"}
_PATTERNS = {"like", "ilike"}
_SERVES_PATTERNS = re.compile(r"gin_trgm_ops|gist_trgm_ops|FULLTEXT")
_NARROW = {"where", "filter", "filter_by", "limit", "fetch", "join", "having", "slice"}


def counted_by_rows(context: Context) -> Iterator[QueryFinding]:
    """`len((await session.scalars(...)).all())`, also where the rows have a name."""
    for node in context.calls:
        if len(node.args) != 1 or context.full_name(node.func) != "builtins.len":
            continue
        rows: ast.expr | None = node.args[0]
        if isinstance(rows, ast.Name):
            rows = context.only_value(rows.id) if only_counted(context, rows.id) else None
        if rows is not None and fetches_all(context, rows):
            yield context.finding(
                "count-by-rows",
                node,
                "All rows are fetched to be counted.",
                "await session.scalar(select(func.count()).select_from(Model).where(...))",
            )


def only_counted(context: Context, name: str) -> bool:
    """Is every use of the name inside `len()`?"""
    counted = 0
    uses = 0
    for node in context.nodes:
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            uses += 1
        if isinstance(node, ast.Call) and dotted(node.func) == "len" and node.args:
            argument = node.args[0]
            counted += isinstance(argument, ast.Name) and argument.id == name
    # What nested functions do with it is not in `nodes`.
    nested = sum(
        isinstance(node, ast.Name) and node.id == name for node in ast.walk(context.function.node)
    )
    return uses == counted and nested == uses + 1


def fetches_all(context: Context, node: ast.expr) -> bool:
    """`(await session.execute(...)).scalars().all()`, or through a name for the result."""
    if not isinstance(node, ast.Call) or method(node) not in _FETCHES:
        return False
    inner: ast.expr = node
    while True:
        if isinstance(inner, ast.Name):
            value = context.only_value(inner.id)
            if value is None:
                return False
            inner = value
            continue
        if isinstance(inner, ast.Await):
            inner = inner.value
        if not isinstance(inner, ast.Call) or not isinstance(inner.func, ast.Attribute):
            return False
        if inner.func.attr in READS and context.is_session(inner.func.value):
            # Statements that change return the rows that they changed: no count does that.
            return "returning" not in ast.dump(inner) and bool(inner.args)
        inner = inner.func.value


def offset_pagination(context: Context) -> Iterator[QueryFinding]:
    """`.offset(page * size)`: the rows before it are read and thrown away."""
    for node in context.calls:
        if method(node) != "offset" or len(node.args) != 1:
            continue
        if isinstance(node.args[0], ast.Constant) or not begins_with_select(context, node):
            continue
        yield context.finding(
            "offset-pagination",
            node,
            "OFFSET reads and throws away all rows before the page: harmless for the first"
            " pages, slow for late ones.",
            "statement = select(Model).order_by(Model.created_at.desc(), Model.id.desc())"
            ".limit(size)\n"
            "if last:  # (created_at, id) of the last row of the page before\n"
            "    statement = statement.where(tuple_(Model.created_at, Model.id) < last)",
        )
        return


def begins_with_select(context: Context, node: ast.expr, depth: int = 0) -> bool:
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if context.is_of_library(node.func, "select"):
            return True
        node = node.func.value
    if isinstance(node, ast.Call):
        return context.is_of_library(node.func, "select")
    if isinstance(node, ast.Name) and depth < 5:
        variable = context.queries.variables.get(node.id)
        if variable is None:
            return False
        values = [value for _, value in variable.values if node.id not in names_in(value)]
        return is_said_to_be_select(context, node.id) or any(
            begins_with_select(context, value, depth + 1) for value in values
        )
    return False


def is_said_to_be_select(context: Context, parameter: str) -> bool:
    node = annotations_of(context.function.node).get(parameter)
    if isinstance(node, ast.Subscript):
        node = node.value
    return node is not None and context.is_of_library(node, "Select")


def list_without_limit(context: Context) -> Iterator[QueryFinding]:
    """A GET endpoint that answers with every row of a table."""
    endpoint = context.endpoint
    if endpoint is None or endpoint.method != "get" or one_of_list(endpoint.answer) is None:
        return
    for node in context.calls:
        if method(node) not in READS or not node.args:
            continue
        held = context.queries.held(node)
        select = held.select if held else None
        if select is None or any(method(call) in _NARROW for call in select.calls):
            continue
        if not is_fetched_whole(context, node):
            continue
        model = select.model.name
        yield context.finding(
            "list-without-limit",
            node,
            f"{endpoint.method.upper()} {endpoint.path or '/'} answers with every row of"
            f" {select.model.table or model}, however many there will be.",
            "limit: Annotated[int, Query(ge=1, le=100)] = 50\n"
            f"select({model}).order_by({model}.id).limit(limit)",
            table=select.model.table,
        )


def is_fetched_whole(context: Context, executed: ast.Call) -> bool:
    """`.all()` or `list()` on it, directly or through a name."""
    names = {
        name
        for name, variable in context.queries.variables.items()
        for _, value in variable.values
        if any(inner is executed for inner in ast.walk(value))
    }
    return any(
        executed in ast.walk(node) or names & names_in(node)
        for node in context.calls
        if method(node) in _FETCHES or dotted(node.func) == "list"
    )


def leading_wildcard(context: Context) -> Iterator[QueryFinding]:
    """LIKE with `%` in front, on mapped text columns without a trigram index."""
    found: list[tuple[ast.Call, Model, str]] = []
    # In a CASE it ranks rows that were found otherwise.
    ranked = {
        id(inner)
        for node in context.calls
        if (dotted(node.func) or "").rpartition(".")[2] == "case"
        for inner in ast.walk(node)
    }
    for node in context.calls:
        if method(node) not in _LIKE or not node.args:
            continue
        assert isinstance(node.func, ast.Attribute)
        column = text_column(context, node.func.value)
        if column is None or id(node) in ranked:
            continue
        if method(node) in _PATTERNS and not begins_with_percent(context, node.args[0]):
            continue
        if not has_trigram_index(*column):
            found.append((node, *column))
    if found:
        first, model, _ = found[0]
        columns = list(dict.fromkeys((one.table or one.name, column) for _, one, column in found))
        names = ", ".join(f"{table}.{column}" for table, column in columns)
        yield context.finding(
            "leading-wildcard",
            first,
            f"A pattern with a wildcard in front on {names}: no ordinary index can serve it, so"
            " every row is read.",
            "\n".join(fix_for(context, table, column) for table, column in columns),
            kind="model",
            table=model.table,
        )


def text_column(context: Context, node: ast.expr) -> tuple[Model, str] | None:
    """`Post.title`, also inside `func.lower(...)`."""
    if isinstance(node, ast.Call) and node.args and "lower" in ast.dump(node.func):
        node = node.args[0]
    if not isinstance(node, ast.Attribute):
        return None
    model = context.project.models.of(context.function.module, node.value)
    return (model, node.attr) if model is not None and node.attr in model.texts else None


def begins_with_percent(context: Context, node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        variable = context.queries.variables.get(node.id)
        values = [value for _, value in variable.values] if variable else []
        return bool(values) and all(begins_with_percent(context, value) for value in values)
    if isinstance(node, ast.JoinedStr):
        node = node.values[0] if node.values else node
    if isinstance(node, ast.BinOp):
        return begins_with_percent(context, node.left)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr == "format" and begins_with_percent(context, node.func.value)
    return isinstance(node, ast.Constant) and str(node.value).startswith("%")


def has_trigram_index(model: Model, column: str) -> bool:
    """Does an `Index(...)` beside the model serve patterns on this column?"""
    for node in ast.walk(model.module.tree):
        if not isinstance(node, ast.Call) or (dotted(node.func) or "").split(".")[-1] != "Index":
            continue
        text = ast.unparse(node)
        if _SERVES_PATTERNS.search(text) and re.search(rf"\b{re.escape(column)}\b", text):
            return True
    return False


def fix_for(context: Context, table: str, column: str) -> str:
    """In the database's own terms, as far as the project shows which it is."""
    scheme = context.project.sources.project.scheme or ""
    if scheme.startswith(("mysql", "mariadb")):
        return (
            f'Index("ix_{table}_{column}_text", "{column}", mysql_prefix="FULLTEXT")\n'
            f"# and ask with match({column}, against=words)"
        )
    if scheme.startswith("sqlite"):
        return f"# an FTS5 table over {table}.{column}, and MATCH instead of LIKE"
    return (
        f'Index("ix_{table}_{column}_trgm", "{column}", postgresql_using="gin",\n'
        f'      postgresql_ops={{"{column}": "gin_trgm_ops"}})'
        "  # CREATE EXTENSION pg_trgm"
    )
