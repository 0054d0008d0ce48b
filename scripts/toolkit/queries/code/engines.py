"""What blocks the event loop, engines made for each request, and SQL made of strings."""

import ast
import re
from collections.abc import Iterator

from toolkit.project.expressions import parameters
from toolkit.project.imports import dotted
from toolkit.queries.code.context import Context
from toolkit.queries.code.source import annotations_of, names_in
from toolkit.queries.code.strings import parts_of
from toolkit.queries.finding import QueryFinding

_SYNC_CALLS = {"execute", "query", "scalar", "scalars", "get", "get_one", "commit", "flush", "exec"}
_SYNC_CALLS |= {"refresh", "delete", "merge"}
_ENGINES = {"create_engine", "create_async_engine", "engine_from_config"}
# `... WHERE id = {x}`, `IN ({x})`, `'{x}'`, `LIMIT {x}`: a value; after FROM it is a name.
_VALUE = re.compile(r"(?i)(=|<|>|\(|,|'|%|\b(like|ilike|limit|offset|and|between|values|in))\s*$")
_STATEMENT = re.compile(r"(?i)\s*\(?\s*(select|insert|update|delete|with|merge|call|replace)\b")
_NAME = re.compile(
    r"(?i)\b(from|join|into|table|update|schema|column|index|by|on|as|exists)\s*\(?$"
)


def blocking_session(context: Context) -> Iterator[QueryFinding]:
    """A synchronous session in `async def`: the event loop stands still for each statement."""
    function = context.function
    if not function.is_async or function.background:
        return
    for node in context.calls:
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in _SYNC_CALLS:
            continue
        if context.project.sessions.of(function, node.func.value) != "sync":
            continue
        name = ast.unparse(node.func.value)
        yield context.finding(
            "blocking-session",
            node,
            f"{name} is a synchronous session in async def: while the database works, no other"
            " request is served.",
            f"async def {function.node.name}({name}: AsyncSession = Depends(get_session)):\n"
            f"    await {ast.unparse(node.func)}(...)\n"
            f"# or `def {function.node.name}`: FastAPI runs that in a thread",
        )
        return


def engine_for_each_call(context: Context) -> Iterator[QueryFinding]:
    """An engine, and with it a pool, made inside an endpoint or a dependency."""
    function = context.function
    full = f"{function.module.name}.{function.node.name}"
    if context.endpoint is None and full not in context.project.injected:
        return
    if any("cache" in ast.dump(one) for one in function.node.decorator_list):
        return
    if any(isinstance(node, ast.Global | ast.Nonlocal) for node in context.nodes):
        return
    for node in context.calls:
        if context.is_of_library(node.func, *_ENGINES):
            yield context.finding(
                "engine-in-request",
                node,
                f"{function.node.name}() makes an engine each time it is called: every request"
                " opens connections of its own and reuses none.",
                "# once, at module level or in the lifespan\n"
                "engine = create_async_engine(url)\n"
                "session_factory = async_sessionmaker(engine, expire_on_commit=False)",
            )


def values_in_text(context: Context) -> Iterator[QueryFinding]:
    """`text(f"... id = {id}")`: an injection, and a new statement for each value."""
    inputs = set(parameters(context.function.node)) - {"self", "cls"}
    for node in context.calls:
        if len(node.args) != 1 or not context.is_of_library(node.func, "text"):
            continue
        found = value_in(context, node.args[0], inputs)
        if found:
            yield context.finding(
                "values-in-text",
                node,
                f"The value of {found} is written into the SQL: open to injection, and each value"
                " is a statement of its own for the server's caches and statistics.",
                'text("... WHERE id = :id"), {"id": id}',
            )


def value_in(context: Context, node: ast.expr, inputs: set[str]) -> str:
    """The input that is formatted in where SQL has a value; empty where there is none."""
    if isinstance(node, ast.Name):
        value = context.only_value(node.id)
        if value is None:
            return ""
        node = value
    parts = list(parts_of(node))
    # SET and the like take no parameters.
    if not _STATEMENT.match(next((part for part in parts if isinstance(part, str)), "")):
        return ""
    before = ""
    for part in parts:
        if isinstance(part, str):
            before += part
            continue
        text = ast.unparse(part)
        position = before.rstrip(" ") if before.rstrip().endswith("'") else before
        is_value = _VALUE.search(position) and not _NAME.search(before)
        if is_value and comes_from(context, part, inputs):
            return text
        before += "?"
    return ""


def comes_from(context: Context, node: ast.expr, inputs: set[str], depth: int = 0) -> bool:
    """Is it a parameter of the function, or made of one in the open?"""
    if isinstance(node, ast.Call):
        name = (dotted(node.func) or "").rpartition(".")[2]
        if name in {"int", "float", "bool", "len", "quote", "quoted_name", "quote_ident"}:
            return False
        return any(comes_from(context, one, inputs, depth) for one in node.args)
    for name in names_in(node):
        if name in inputs and not is_number(context, name):
            return True
        variable = context.queries.variables.get(name)
        values = [value for _, value in variable.values] if variable and depth < 3 else []
        if name not in inputs and any(
            comes_from(context, value, inputs, depth + 1)
            for value in values
            if isinstance(value, ast.Name | ast.Attribute | ast.Subscript | ast.JoinedStr)
        ):
            return True
    return False


def is_number(context: Context, name: str) -> bool:
    """Checked by FastAPI, or by whoever calls: it can hold no SQL."""
    annotation = annotations_of(context.function.node).get(name)
    said = ast.unparse(annotation) if annotation is not None else ""
    return said in {"int", "float", "bool", "int | None"}
