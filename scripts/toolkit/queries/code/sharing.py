"""One session used by several tasks at once."""

import ast
from collections.abc import Iterator

from toolkit.project.imports import dotted
from toolkit.queries.code.context import Context
from toolkit.queries.code.sessions import READS
from toolkit.queries.code.source import names_in
from toolkit.queries.finding import QueryFinding

_USES = {*READS, "refresh", "flush", "commit"}


def shared_session(context: Context) -> Iterator[QueryFinding]:
    """`asyncio.gather(one(session), two(session))`: a session serves one task at a time."""
    for node in context.calls:
        if context.full_name(node.func) != "asyncio.gather":
            continue
        used: list[str] = []
        for argument in node.args:
            part = argument.value if isinstance(argument, ast.Starred) else argument
            bound: set[str] = set()
            many = isinstance(part, ast.ListComp | ast.GeneratorExp)
            if isinstance(part, ast.ListComp | ast.GeneratorExp):
                bound = {name for one in part.generators for name in names_in(one.target)}
                part = part.elt
            for name in sorted(sessions_in(context, part) - bound):
                used += [name] * (2 if many else 1)
        shared = sorted({name for name in used if used.count(name) > 1})
        if shared:
            yield context.finding(
                "session-in-gather",
                node,
                f"gather() lets several tasks use {shared[0]} at once; a session serves one at a"
                " time, and the second raises InvalidRequestError or gets the wrong rows.",
                "async def one(key):\n"
                "    async with session_factory() as session:  # a session of its own\n"
                "        return await load(session, key)\n\n"
                "await asyncio.gather(*(one(key) for key in keys))",
            )


def sessions_in(context: Context, node: ast.expr) -> set[str]:
    """Sessions (by type) that a call, not yet awaited, is given or belongs to."""
    if not isinstance(node, ast.Call):
        return set()
    parts = [*node.args, *(keyword.value for keyword in node.keywords)]
    if isinstance(node.func, ast.Attribute) and node.func.attr in _USES:
        parts.append(node.func.value)
    of = context.project.sessions.of
    return {
        text
        for part in parts
        if (text := dotted(part)) is not None and of(context.function, part) == "async"
    }
