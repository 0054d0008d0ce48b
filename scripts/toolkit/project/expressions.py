"""Small questions about expressions and functions in source."""

import ast
import copy

from toolkit.project.calls import CallSite
from toolkit.project.imports import FunctionNode, assignments, dotted


def steps_of(node: ast.expr) -> tuple[list[ast.Attribute | ast.Call | ast.Subscript], str]:
    """Attribute, call and index steps from the root name outwards, and that name."""
    steps: list[ast.Attribute | ast.Call | ast.Subscript] = []
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        steps.insert(0, node)
        node = node.func if isinstance(node, ast.Call) else node.value
    return steps, node.id if isinstance(node, ast.Name) else ""


def root_of(node: ast.expr) -> ast.Name | None:
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node if isinstance(node, ast.Name) else None


def replaced(node: ast.expr, part: ast.expr, value: ast.expr) -> ast.expr:
    """A copy of `node` in which its inner `part` is `value`."""
    if node is part:
        return value
    fresh = copy.copy(node)
    if isinstance(fresh, ast.Call):
        fresh.func = replaced(fresh.func, part, value)
    elif isinstance(fresh, ast.Attribute | ast.Subscript):
        fresh.value = replaced(fresh.value, part, value)
    return fresh


def matching_part(node: ast.expr, target: ast.expr) -> ast.expr | None:
    """The inner part of `node` that reads what `target` (`self.x`) assigns."""
    wanted = dotted(target)
    while wanted and isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        if dotted(node) == wanted:
            return node
        node = node.func if isinstance(node, ast.Call) else node.value
    return None


def local_value(function: FunctionNode, name: str) -> ast.expr | None:
    found = [value for target, value, _ in assignments(function.body) if target == name]
    return found[-1] if found else None


def parameters(function: FunctionNode) -> list[str]:
    arguments = function.args
    return [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def default_of(function: FunctionNode, name: str) -> ast.expr | None:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs: list[tuple[ast.arg, ast.expr | None]] = [
        *zip(reversed(positional), reversed(arguments.defaults), strict=False),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return next((value for argument, value in pairs if argument.arg == name), None)


def argument_for(
    site: CallSite, function: FunctionNode, name: str, *, skip_self: bool
) -> ast.expr | None:
    for keyword in site.call.keywords:
        if keyword.arg == name:
            return keyword.value
    positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    names = positional[1:] if skip_self else positional
    index = names.index(name) if name in names else len(site.call.args)
    return site.call.args[index] if index < len(site.call.args) else None


def has_default(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    names = {keyword.arg for keyword in node.keywords}
    return len(node.args) > 1 or "default" in names
