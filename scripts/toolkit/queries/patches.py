"""Changes of the source as a patch that `git apply` takes: loader options and indexes."""

import ast
import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeGuard

from toolkit.migration.expand_contract.writing import string
from toolkit.project.facts import Project
from toolkit.queries.finding import Index, Loader, QueryFinding


@dataclass(frozen=True)
class Edit:
    """Put `text` into a source in place of `length` characters at `offset`."""

    offset: int
    text: str
    length: int = 0


Wish = Callable[[str], list[Edit] | None]
"""What a source needs for one change; None where its form is not one that is known."""


def patches(findings: Iterable[QueryFinding], project: Project) -> tuple[str, list[str]]:
    """One patch with paths below the project's root; and in words what it leaves to a person."""
    edits: dict[Path, list[tuple[str, Wish]]] = {}
    left: list[str] = []
    for path, words, wish in wanted(findings, project):
        edits.setdefault(path, []).append((words, wish))
    made: list[str] = []
    for path, wishes in sorted(edits.items()):
        before = after = path.read_text("utf-8")
        for words, wish in wishes:
            found = wish(after)
            if found is None:
                left.append(words)
            else:
                after = applied(after, found)
        made += unified(path.relative_to(project.root).as_posix(), before, after)
    return "".join(made), left


def wanted(findings: Iterable[QueryFinding], project: Project) -> Iterator[tuple[Path, str, Wish]]:
    """Each change once: its file, itself in words, and how to make it."""
    tables = {one.table: one for one in project.mapped if one.table}
    seen: set[object] = set()
    for one in findings:
        fix = one.fix
        if fix is None or (fix.loader or fix.index) in seen:
            continue
        if fix.loader:
            seen.add(fix.loader)
            loader = fix.loader
            words = f"{loader.file}:{loader.line}: .options({loader.option})"
            yield project.root / loader.file, words, partial(add_loader, wish=loader)
        elif fix.index and fix.index.table in tables:
            seen.add(fix.index)
            model = tables[fix.index.table]
            words = f"{model.name}: {as_python(fix.index)}"
            if fix.index.drop:
                words = (
                    f"{model.name}: take {fix.index.name} away, or the next autogenerate makes it"
                )
            change = take_index if fix.index.drop else add_index
            yield model.path, words, partial(change, model=model.name, wish=fix.index)


def add_loader(source: str, wish: Loader) -> list[Edit] | None:
    """`.options(...)` directly after the `select(Entity)` in the function that runs it."""
    tree = ast.parse(source)
    function = function_at(tree, wish.line)
    calls = [
        node
        for node in ast.walk(function or ast.Module([], []))
        if isinstance(node, ast.Call)
        and name_of(node.func) == "select"
        and node.args
        and name_of(node.args[0]) == wish.entity
    ]
    # Of several it could be any: which, a person sees.
    if len(calls) != 1:
        return None
    end = offset(source, calls[0].end_lineno or 0, calls[0].end_col_offset or 0)
    names = {name_of(node.func) for node in ast.walk(ast.parse(wish.option)) if is_call(node)}
    loaders = sorted(name for name in names if name in LOADERS)
    missing = [
        edit for name in loaders[:1] for edit in imported(source, tree, "sqlalchemy.orm", name)
    ]
    return [*missing, Edit(end, f".options({wish.option})")]


LOADERS = frozenset({"selectinload", "joinedload", "undefer"})


def function_at(tree: ast.Module, line: int) -> ast.AST | None:
    """The innermost function around a line."""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.lineno <= line <= (node.end_lineno or 0)
    ]
    return max(around, key=lambda node: node.lineno, default=None)


def add_index(source: str, model: str, wish: Index) -> list[Edit] | None:
    """An `Index(...)` in `__table_args__`, made if there is none; None for an unusual form."""
    tree = ast.parse(source)
    body = class_body(tree, model)
    text = as_python(wish)
    names = ["Index", "text"] if "text(" in text else ["Index"]
    imports = imported(source, tree, "sqlalchemy", *names)
    for node in body:
        if assigned(node) == "__table_args__":
            value = node.value  # type: ignore[attr-defined]
            if not isinstance(value, ast.Tuple) or not value.elts:
                return None
            first = value.elts[0]
            gap = f"\n{' ' * first.col_offset}" if first.lineno != value.lineno else " "
            place = offset(source, first.lineno, first.col_offset)
            return [*imports, Edit(place, f"{text},{gap}")]
    core = table_call(tree, model)
    if core and core.args and not core.keywords:
        last = core.args[-1]
        end = offset(source, last.end_lineno or 0, last.end_col_offset or 0)
        return [*imports, Edit(end, f",\n{' ' * last.col_offset}{text}")]
    for node in body:
        if assigned(node) == "__tablename__":
            indent = " " * node.col_offset
            lines = f"{indent}__table_args__ = (\n{indent}    {text},\n{indent})\n"
            return [*imports, Edit(offset(source, (node.end_lineno or 0) + 1, 0), lines)]
    return None


def take_index(source: str, model: str, wish: Index) -> list[Edit] | None:
    """Without the `Index(...)` of that name; None if it is made in another way."""
    for node in class_body(ast.parse(source), model):
        value = getattr(node, "value", None)
        if assigned(node) != "__table_args__" or not isinstance(value, ast.Tuple):
            continue
        for number, one in enumerate(value.elts):
            if not (is_call(one) and name_of(one.func) == "Index" and constant(one) == wish.name):
                continue
            begin = offset(source, one.lineno, one.col_offset)
            rest = value.elts[number + 1 :]
            if rest:
                end = offset(source, rest[0].lineno, rest[0].col_offset)
            elif number:
                before = value.elts[number - 1]
                begin = offset(source, before.end_lineno or 0, before.end_col_offset or 0)
                end = offset(source, one.end_lineno or 0, one.end_col_offset or 0)
            else:
                begin = offset(source, node.lineno, 0)
                end = offset(source, (node.end_lineno or 0) + 1, 0)
            return [Edit(begin, "", end - begin)]
    return plain_column(source, model, wish)


def plain_column(source: str, model: str, wish: Index) -> list[Edit] | None:
    """`index=True` of the one column that the index is on."""
    for node in class_body(ast.parse(source), model):
        call = getattr(node, "value", None)
        target = getattr(node, "target", None)
        if not (isinstance(call, ast.Call) and target is not None):
            continue
        if wish.expressions != (name_of(target),):
            continue
        given: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
        for number, one in enumerate(given):
            if isinstance(one, ast.keyword) and one.arg == "index" and number:
                before = given[number - 1]
                begin = offset(source, before.end_lineno or 0, before.end_col_offset or 0)
                end = offset(source, one.end_lineno or 0, one.end_col_offset or 0)
                return [Edit(begin, "", end - begin)]
    return None


def table_call(tree: ast.Module, name: str) -> ast.Call | None:
    """`Table(...)` of Core, by the name that it is assigned to."""
    for node in tree.body:
        value = getattr(node, "value", None)
        if assigned(node) == name and isinstance(value, ast.Call):
            return value if name_of(value.func) == "Table" else None
    return None


def class_body(tree: ast.Module, name: str) -> list[ast.stmt]:
    """Of the one class of this name; empty if there are several."""
    found = [
        node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name
    ]
    return found[0].body if len(found) == 1 else []


def assigned(node: ast.stmt) -> str:
    return name_of(node.targets[0]) if isinstance(node, ast.Assign) else ""


def is_call(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call)


def constant(call: ast.Call) -> object:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) else None


def as_python(index: Index) -> str:
    """As a model has it. Names that are plain columns stay names."""
    keys = [
        string(key) if key.isidentifier() else f"text({string(key)})" for key in index.expressions
    ]
    unique = ["unique=True"] if index.unique else []
    return f"Index({', '.join([string(index.name), *keys, *unique, *options_of(index, 'text')])})"


def options_of(index: Index, text: str) -> list[str]:
    """Its keyword arguments, in Python; `text` is what makes SQL of a string there."""
    options = []
    if index.where:
        where = f"{text}({string(index.where)})"
        options += [f"{kind}_where={where}" for kind in ("postgresql", "sqlite")]
    if index.include:
        options.append(f"postgresql_include=[{', '.join(map(string, index.include))}]")
    if index.method:
        options.append(f"postgresql_using={string(index.method)}")
    if index.opclass:
        first = string(index.expressions[0])
        options.append(f"postgresql_ops={{{first}: {string(index.opclass)}}}")
    return options


def imported(source: str, tree: ast.Module, module: str, *names: str) -> list[Edit]:
    """What lacks of an import: in the one that is there, else after those of its package."""
    lines = {True: 0, False: 0}
    here: list[ast.alias] = []
    there: set[str] = set()
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        origin = getattr(node, "module", None) or node.names[0].name
        if isinstance(node, ast.ImportFrom) and origin == module:
            here = node.names
            there |= {alias.asname or alias.name for alias in node.names}
        same = origin.partition(".")[0] == module.partition(".")[0]
        lines[same] = node.end_lineno or 0
    missing = [name for name in names if name not in there]
    if not missing:
        return []
    listed = ", ".join(missing)
    if here:
        last = here[-1]
        place = offset(source, last.end_lineno or 0, last.end_col_offset or 0)
        return [Edit(place, f", {listed}")]
    place = offset(source, (lines[True] or lines[False]) + 1, 0)
    return [Edit(place, f"from {module} import {listed}\n")]


def name_of(node: ast.AST) -> str:
    """`select` for `select`, `sa.select`; empty for other forms."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def offset(source: str, line: int, column: int) -> int:
    """In characters; `column` counts bytes, as ast does."""
    lines = source.splitlines(keepends=True)
    before = sum(len(text) for text in lines[: line - 1])
    if line > len(lines):
        return before
    return before + len(lines[line - 1].encode()[:column].decode())


def applied(source: str, edits: Iterable[Edit]) -> str:
    for edit in sorted(edits, key=lambda one: one.offset, reverse=True):
        source = source[: edit.offset] + edit.text + source[edit.offset + edit.length :]
    return source


def unified(name: str, before: str, after: str) -> list[str]:
    if before == after:
        return []
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"a/{name}",
        f"b/{name}",
    )
    return [
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    ]
