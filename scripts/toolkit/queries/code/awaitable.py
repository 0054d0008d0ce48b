"""`awaitable_attrs` for one item after the other."""

import ast
from collections.abc import Iterator

from toolkit.project.imports import dotted
from toolkit.queries.code.context import Context
from toolkit.queries.code.loops import loops
from toolkit.queries.code.queries import LITERALS, Item, mentions
from toolkit.queries.finding import QueryFinding


def awaitable_in_loop(context: Context) -> Iterator[QueryFinding]:
    """`for post in posts: await post.awaitable_attrs.comments`."""
    if context.function.background:
        return
    for _, target, iterated, inside in loops(context):
        if not isinstance(target, ast.Name) or isinstance(iterated, LITERALS):
            continue
        for node in inside:
            name = awaited_attribute(node, target.id)
            if not name or not isinstance(node, ast.Await):
                continue
            held = context.queries.held(Item(iterated))
            if held is not None:
                relationship = held.model.relationships.get(name)
                loaded = relationship is not None and relationship.lazy != "select"
                if loaded or mentions(held.options, name):
                    continue
            elif is_eager_everywhere(context, name):
                continue
            model = held.model.name if held else "Model"
            option = f"selectinload({model}.{name})"
            yield context.finding(
                "awaitable-in-loop",
                node,
                f"awaitable_attrs.{name} in a loop: one statement for each item.",
                f"select({model}).options({option})",
                load=(held, option) if held else None,
                table=held.model.table if held else None,
                more=(f"the loop is over {ast.unparse(iterated)[:80]}",),
            )


def awaited_attribute(node: ast.AST, variable: str) -> str:
    """`comments` of `await post.awaitable_attrs.comments`."""
    value = node.value if isinstance(node, ast.Await) else None
    if not isinstance(value, ast.Attribute):
        return ""
    return value.attr if dotted(value.value) == f"{variable}.awaitable_attrs" else ""


def is_eager_everywhere(context: Context, name: str) -> bool:
    models = context.project.models.by_name.values()
    found = [one.relationships[name] for one in models if name in one.relationships]
    return bool(found) and all(one.lazy != "select" for one in found)
