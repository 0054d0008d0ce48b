"""What an env.py tells `context.configure`, so that nothing of it is lost in silence (#12)."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.project.imports import dotted

# What each env.py has to pass, and what the template does at least as well.
_CARRIED = {"connection", "url", "target_metadata", "literal_binds", "dialect_opts"}
_AS_WELL = {("compare_type", "True"), ("compare_server_default", "True")}


@dataclass(frozen=True)
class Option:
    """One of them: `include_object=mine`, or `**what` where it cannot be told."""

    line: int
    text: str
    name: str
    meaning: str
    """Its value; for a function of the same file, with that."""


def lost_options(before: str, after: str) -> list[Option]:
    """What the old env.py tells Alembic, and the new one does not tell it in the same words."""
    kept = {(one.name, one.meaning) for one in _options(after)} | _AS_WELL
    return [
        one
        for one in _options(before)
        if one.name not in _CARRIED and (one.name, one.meaning) not in kept
    ]


def _options(text: str) -> list[Option]:
    tree = ast.parse(text.removeprefix("\ufeff"))
    found: dict[tuple[str, int], Option] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (dotted(node.func) or "").endswith("configure"):
            for name, value in _arguments(node.keywords, tree):
                text = f"{name}={ast.unparse(value)}" if name else f"**{ast.unparse(value)}"
                meaning = _meaning(value, tree)
                option = Option(value.lineno, text, name or text, meaning)
                found[option.name, option.line] = option
    return sorted(found.values(), key=lambda one: one.line)


Entries = Iterator[tuple[str | None, ast.expr]]


def _arguments(keywords: list[ast.keyword], tree: ast.Module) -> Entries:
    for keyword in keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value
            continue
        inside = _elsewhere(keyword.value, tree) or list(_entries(keyword.value))
        yield from inside or [(None, keyword.value)]


def _entries(node: ast.expr) -> Entries:
    """The entries of a dict that is written out; without a name: what is unpacked into it."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield (str(key.value) if isinstance(key, ast.Constant) else None), value
    elif isinstance(node, ast.Call) and dotted(node.func) == "dict":
        yield from ((None, value) for value in node.args)
        yield from ((keyword.arg, keyword.value) for keyword in node.keywords)


def _elsewhere(node: ast.expr, tree: ast.Module) -> list[tuple[str | None, ast.expr]]:
    """The entries of a dict that a variable holds, or that a function of this file returns."""
    if isinstance(node, ast.Call):
        return [
            entry
            for function in _functions(dotted(node.func), tree)
            for inner in ast.walk(function)
            if isinstance(inner, ast.Return) and inner.value is not None
            for entry in _entries(inner.value)
        ]
    name = dotted(node)
    return [entry for inner in ast.walk(tree) for entry in _put_into(name, inner, tree)]


def _put_into(name: str | None, node: ast.AST, tree: ast.Module) -> Entries:
    """`name = {...}`, `name["key"] = ...` and `name.update(...)`."""
    if isinstance(node, ast.Call) and dotted(node.func) == f"{name}.update":
        for argument in node.args:
            yield from _entries(argument)
        yield from ((keyword.arg, keyword.value) for keyword in node.keywords)
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Name) and target.id == name:
            yield from _entries(node.value)
            if isinstance(node.value, ast.Call):
                yield from _elsewhere(node.value, tree)
        elif isinstance(target, ast.Subscript) and dotted(target.value) == name:
            key = target.slice
            yield (str(key.value) if isinstance(key, ast.Constant) else None), node.value


def _functions(name: str | None, tree: ast.Module) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name]


def _meaning(value: ast.expr, tree: ast.Module) -> str:
    functions = _functions(dotted(value), tree)
    return "\n".join([ast.unparse(value), *(ast.unparse(one) for one in functions)])
