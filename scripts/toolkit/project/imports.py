"""Names across modules: what does `Base` in this file really mean?"""

import ast
import builtins
import symtable
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

from toolkit.files.reading import Unreadable, names_tables, source_of
from toolkit.project.looks import (
    Look,
    classes_in,
    renamings_in,
    with_derived,
    with_renamed,
    words_in,
)

_LIBRARIES = {"sqlalchemy", "sqlmodel"}
"""`from sqlmodel import *` stands for what their tutorials use it for."""

DEEPEST = 1000
"""Levels of a tree. What reads an expression calls itself for each; Python has an end to that."""
TOO_DEEP = "an expression is nested too deep to be read"

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class Parsed:
    """A source's syntax tree, or why there is none."""

    def __init__(self, text: str, path: Path) -> None:
        self.text = text
        self.error: SyntaxError | None = None
        self.tree = ast.Module([], [])
        try:
            self.tree = ast.parse(text, filename=str(path))
        except (RecursionError, MemoryError):
            self.error = SyntaxError(TOO_DEEP)
        except SyntaxError as error:
            self.error = error
        except ValueError as error:
            self.error = SyntaxError(str(error))
        levels = list(statements_of(self.tree))
        self.statements = tuple(node for level in levels for node in level)
        """With handlers and cases, in the order in which `nodes` has them."""
        if is_deep(self, len(levels)):
            self.error, self.tree, self.statements = SyntaxError(TOO_DEEP), ast.Module([], []), ()

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes, as `ast.walk` has them."""
        return tuple(node for level in levels_of([self.tree]) for node in level)


_PARSED: dict[Path, Parsed] = {}
"""The last of each file: several readers ask for the same one (#12)."""


def parsed(path: Path, text: str) -> Parsed:
    known = _PARSED.get(path)
    if known is None or known.text != text:
        known = _PARSED[path] = Parsed(text, path)
    return known


_CHILDREN: dict[type[ast.AST], tuple[str, ...]] = {}


def children_of(node: ast.AST) -> list[ast.AST]:
    """As `ast.iter_child_nodes`, in half the time; without `Load` and `Store`."""
    kind = node.__class__
    if kind not in _CHILDREN:
        _CHILDREN[kind] = tuple(name for name in kind._fields if name != "ctx")
    found: list[ast.AST] = []
    for name in _CHILDREN[kind]:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            found.append(value)
        elif value.__class__ is list:
            found += [one for one in value if isinstance(one, ast.AST)]
    return found


def levels_of(level: list[ast.AST]) -> Iterator[list[ast.AST]]:
    """These and all nodes below them, by how deep they are, as `ast.walk` has them."""
    while level:
        yield level
        level = [child for node in level for child in children_of(node)]


STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
PLACELESS = (ast.Module, ast.match_case)
BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
"""The fields that hold statements, in the order in which each kind has them."""
BRACKETS = 600
"""Levels at most of brackets in one another: Python takes 200, and each is three with what is
between (a call, a generator, its `for`). Every other level takes a character."""


def statements_of(tree: ast.Module) -> Iterator[list[ast.AST]]:
    """As `levels_of`, of statements, handlers and cases only: an eighth of the nodes (#12)."""
    level: list[ast.AST] = [tree]
    while level:
        yield level
        level = [
            child
            for node in level
            for name in BLOCKS
            if (block := getattr(node, name, None)).__class__ is list
            for child in block
        ]


def is_deep(source: Parsed, levels: int) -> bool:
    """Has the tree more levels than `DEEPEST`? Walks only what is long enough for that.

    An expression ends before the next statement begins; a decorator stands before its own.
    """
    placed = [node for node in source.statements if not isinstance(node, PLACELESS)]
    order = sorted({node.lineno for node in placed})  # type: ignore[attr-defined]
    begins = [0, *accumulate(len(line) + 1 for line in source.text.split("\n"))]
    borders = [0, *(begins[line - 1] for line in order), len(source.text)]
    room = DEEPEST - BRACKETS - levels
    long = [n for n, (one, other) in enumerate(pairwise(borders)) if other - one > room]
    if not long:
        return False
    near = {0, *(line for n in long for line in order[max(n - 1, 0) : n + 1])}  # 0: has no place
    suspects = (node for node in source.statements if getattr(node, "lineno", 0) in near)
    return any(levels + depth_of(node) > DEEPEST for node in suspects)


def depth_of(statement: ast.AST) -> int:
    """Levels of its own expressions."""
    own = [node for node in children_of(statement) if not isinstance(node, STATEMENTS)]
    return sum(1 for _ in levels_of(own))


@dataclass(frozen=True)
class Module:
    """One source file under the name that it is imported by; parsed when somebody asks (#12)."""

    name: str
    path: Path
    is_package: bool
    text: str = field(repr=False, compare=False, hash=False)

    @cached_property
    def parsed(self) -> Parsed:
        return parsed(self.path, self.text)

    @property
    def tree(self) -> ast.Module:
        """An empty one where the file does not parse."""
        return self.parsed.tree

    @property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes, as `ast.walk` has them: walked once, since each reader asks for them."""
        return self.parsed.nodes

    @property
    def is_parsed(self) -> bool:
        return "parsed" in self.__dict__

    @property
    def statements(self) -> tuple[ast.AST, ...]:
        """Those of `nodes` that are statements, handlers and cases."""
        return self.parsed.statements

    @property
    def error(self) -> SyntaxError | None:
        """Why it does not parse; None also where nobody asked."""
        return self.parsed.error if self.is_parsed else None

    @cached_property
    def words(self) -> frozenset[str]:
        return words_in(self.text)

    @cached_property
    def classes(self) -> tuple[tuple[str, frozenset[str]], ...]:
        return classes_in(self.text)


def parses(module: Module) -> bool:
    """Can Python read it? Asks its compiler, which makes no tree, in half the time (#12).

    What is only too deep for us is called broken where it may have tables, which somebody reads.
    """
    if not module.is_parsed and not names_tables(module.text):
        try:
            symtable.symtable(module.text, str(module.path), "exec")
            return True
        except (SyntaxError, RecursionError, MemoryError, ValueError):
            pass  # it may be what only the compiler minds, and the tree tells the line
    return module.parsed.error is None


@dataclass
class Bindings:
    """What the names of one module stand for."""

    imports: dict[str, str] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    values: dict[str, ast.expr] = field(default_factory=dict)
    annotations: dict[str, ast.expr] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    functions: dict[str, FunctionNode] = field(default_factory=dict)


def parse(path: Path, name: str) -> Module:
    """Parse one file. Raises SyntaxError, also for what cannot be read or is nested too deep;
    FileNotFoundError where it is no regular file, which Python does not import either.
    """
    module = read(path, name)
    if (error := module.parsed.error) is not None:
        raise error
    return module


def read(path: Path, name: str) -> Module:
    """One file, not parsed yet. Raises SyntaxError where it cannot be read; FileNotFoundError."""
    try:
        return Module(name, path, path.name == "__init__.py", source_of(path))
    except Unreadable as error:
        raise SyntaxError(str(error)) from error


def module_name(path: Path, import_roots: Sequence[Path], root: Path) -> str | None:
    """Dotted name of a file, None when no import statement could spell it."""
    base = next((folder for folder in import_roots if folder in path.parents), root)
    parts = list(path.relative_to(base).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else None


def dotted(node: ast.expr) -> str | None:
    """`a.b.c` as text, None for anything that is not such a chain."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else None
    return None


def top_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import, also those inside `if`, `try` and `with`."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
            blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
            blocks += [handler.body for handler in getattr(statement, "handlers", [])]
            for block in blocks:
                yield from top_level(block)


def assignments(
    body: Iterable[ast.stmt], *, nested: bool = True
) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """`(name, value, annotation)` of the plain assignments in a block."""
    for statement in top_level(body) if nested else body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, statement.value, None
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.value, statement.annotation


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


class Resolver:
    """Follows names through imports, aliases and re-exports. Imports nothing."""

    def __init__(self, modules: dict[str, Module]) -> None:
        self.modules = modules
        self._bindings: dict[Path, Bindings] = {}
        self._qualified: dict[tuple[Path, str], str] = {}

    def having(self, look: Look) -> list[Module]:
        """The modules in which a cheap look finds something."""
        return [module for module in self.modules.values() if look(module.text)]

    def naming(self, names: Iterable[str]) -> list[Module]:
        """Those that use one of these names, also by another name that it got somewhere."""
        wanted = self.other_names(names)
        return [one for one in self.modules.values() if not wanted.isdisjoint(one.words)]

    def other_names(self, names: Iterable[str]) -> set[str]:
        """`names`, and what they are called elsewhere (`import old as new`, `new = old`)."""
        return with_renamed(names, self._renamings)

    def derived(self, names: Iterable[str]) -> set[str]:
        """`names`, and those of all classes that may be made of them."""
        statements = [one for module in self.modules.values() for one in module.classes]
        return with_derived(names, statements, self._renamings)

    @cached_property
    def _renamings(self) -> frozenset[tuple[str, str]]:
        return frozenset(
            pair for module in self.modules.values() for pair in renamings_in(module.text)
        )

    def bindings(self, module: Module) -> Bindings:
        """The names of a module (cached)."""
        if module.path not in self._bindings:
            self._bindings[module.path] = self._bind(module)
        return self._bindings[module.path]

    def qualify(self, module: Module, name: str) -> str:
        """The full name of the dotted `name` as seen in `module`.

        `app.db.Base` for something defined in this project, the import path for
        something from elsewhere, `builtins.…` for a name that nothing defines.
        """
        key = module.path, name
        if key not in self._qualified:
            self._qualified[key] = self._qualify(module, name, frozenset())
        return self._qualified[key]

    def locate(self, qualified: str) -> tuple[Module, str, str] | None:
        """Split a full name into `(module, symbol, rest)`; None if not of this project."""
        parts = qualified.split(".")
        for length in range(len(parts) - 1, 0, -1):
            module = self.modules.get(".".join(parts[:length]))
            if module is not None:
                return module, parts[length], ".".join(parts[length + 1 :])
        return None

    def absolute(self, module: Module, node: ast.ImportFrom) -> str:
        """The absolute module name that a `from … import` names."""
        if not node.level:
            return node.module or ""
        parts = module.name.split(".")
        drop = node.level - (1 if module.is_package else 0)
        base = parts[: len(parts) - drop] if drop else parts
        return ".".join([*base, node.module] if node.module else base)

    def _bind(self, module: Module) -> Bindings:
        found = Bindings()
        for statement in top_level(module.tree.body):
            if isinstance(statement, ast.ClassDef):
                found.classes[statement.name] = statement
            elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                found.functions[statement.name] = statement
            elif isinstance(statement, ast.ImportFrom):
                # `config = context.config` and later `from app import config`: the last one holds.
                for alias in statement.names:
                    found.values.pop(alias.asname or alias.name, None)
            self._bind_import(module, statement, found)
            for name, value, annotation in assignments([statement], nested=False):
                if value is not None and _is_none(found.values.get(name)):
                    found.values[name] = value
                if annotation is not None:
                    found.annotations[name] = annotation
        inner = Bindings()
        for node in module.statements:
            self._bind_import(module, node, inner)
        taken = {**found.values, **found.classes, **found.functions, **found.imports}
        # Imports inside functions count where the module itself does not know the name.
        found.imports |= {n: full for n, full in inner.imports.items() if n not in taken}
        found.stars = inner.stars
        return found

    def _bind_import(self, module: Module, node: ast.AST, found: Bindings) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                target = alias.name if alias.asname else alias.name.split(".")[0]
                found.imports.setdefault(alias.asname or target, target)
        elif isinstance(node, ast.ImportFrom):
            source = self.absolute(module, node)
            for alias in node.names:
                if alias.name == "*":
                    if source not in found.stars:
                        found.stars.append(source)
                else:
                    full = f"{source}.{alias.name}"
                    found.imports.setdefault(alias.asname or alias.name, full)

    def _qualify(self, module: Module, name: str, seen: frozenset[tuple[str, str]]) -> str:
        head, _, rest = name.partition(".")
        tail = f".{rest}" if rest else ""
        if (module.name, name) in seen:
            return f"{module.name}.{name}"
        seen |= {(module.name, name)}
        bound = self.bindings(module)
        here = f"{module.name}.{name}"
        alias = self._alias(bound, head)
        if head in bound.classes or head in bound.functions:
            return here
        if alias:
            return self._qualify(module, alias + tail, seen)
        if head in bound.imports:
            return self._canonical(bound.imports[head] + tail, seen)
        star = self._star_source(bound, head)
        if star is not None and head not in bound.values:
            return self._qualify(star, name, seen)
        known = head in bound.values or head in bound.annotations
        return f"{module.name if known else self._foreign(bound, head)}.{name}"

    def _foreign(self, bound: Bindings, name: str) -> str:
        """Where a name comes from that the module itself does not bind."""
        library = (star for star in bound.stars if star.partition(".")[0] in _LIBRARIES)
        return "builtins" if hasattr(builtins, name) else next(library, "builtins")

    def _alias(self, bound: Bindings, name: str) -> str | None:
        """The dotted name that `name = other.thing` makes it another word for."""
        value = bound.values.get(name)
        text = dotted(value) if value is not None else None
        return text if text and text.partition(".")[0] != name else None

    def _star_source(self, bound: Bindings, name: str) -> Module | None:
        sources = (self.modules.get(star) for star in bound.stars)
        return next((m for m in sources if m is not None and self._provides(m, name, set())), None)

    def _canonical(self, full: str, seen: frozenset[tuple[str, str]]) -> str:
        if full in self.modules:
            return full
        place = self.locate(full)
        if place is None:
            return full
        module, symbol, rest = place
        name = f"{symbol}.{rest}" if rest else symbol
        result = self._qualify(module, name, seen)
        return f"{module.name}.{name}" if result.startswith("builtins.") else result

    def _provides(self, module: Module, name: str, seen: set[str]) -> bool:
        if module.name in seen:
            return False
        seen.add(module.name)
        bound = self.bindings(module)
        spaces = (bound.classes, bound.functions, bound.values, bound.imports)
        if any(name in space for space in spaces):
            return True
        stars = (self.modules.get(star) for star in bound.stars)
        return any(self._provides(star, name, seen) for star in stars if star is not None)
