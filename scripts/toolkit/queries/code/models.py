"""The mapped classes of the source: their columns, relationships, and how these load."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from toolkit.project.imports import Module, assignments, dotted
from toolkit.project.metadata import ClassInfo
from toolkit.queries.code.source import Sources

_TEXT_TYPES = re.compile(r"\b(str|String|Text|Unicode|UnicodeText|VARCHAR|TEXT|CITEXT|EmailStr)\b")
_NO_TEXT = re.compile(r"\b(ARRAY|JSON|JSONB|HSTORE|list|List|dict|Dict|set|Set)\b")


@dataclass(frozen=True)
class Relationship:
    name: str
    target: str
    """The class's name as written; empty where it cannot be told."""
    lazy: str
    """`select` is what SQLAlchemy does unless told; `?` where the source computes it."""
    many: bool | None
    line: int


@dataclass(frozen=True)
class Model:
    name: str
    qualified: str
    module: Module
    table: str | None
    relationships: dict[str, Relationship] = field(default_factory=dict)
    columns: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    """Columns that hold text."""


class Models:
    """Every mapped class by its full name."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.by_name: dict[str, Model] = {}
        for item in sources.project.mapped:
            info = sources.index.classes.get(f"{item.module}.{item.name}")
            if info is not None:
                self.by_name[info.qualified] = self._read(info, item.table)

    def of(self, module: Module, node: ast.expr | None) -> Model | None:
        """The mapped class that an expression names."""
        return self.by_name.get(self.sources.full_name(module, node))

    def named(self, name: str) -> Model | None:
        """The only mapped class of this bare name."""
        found = [one for one in self.by_name.values() if one.name == name.rpartition(".")[2]]
        return found[0] if len(found) == 1 else None

    def _read(self, info: ClassInfo, table: str | None) -> Model:
        relationships: dict[str, Relationship] = {}
        columns: set[str] = set()
        texts: set[str] = set()
        for one in reversed(list(self.chain(info))):
            for name, value, annotation in assignments(one.node.body):
                relationship = read_relationship(name, value, annotation)
                if relationship:
                    relationships[name] = relationship
                elif is_column(value, annotation):
                    columns.add(name)
                    if holds_text(value, annotation):
                        texts.add(name)
        return Model(
            info.node.name,
            info.qualified,
            info.module,
            table,
            relationships,
            frozenset(columns),
            frozenset(texts),
        )

    def chain(self, info: ClassInfo, depth: int = 0) -> Iterator[ClassInfo]:
        """The class and those of the project that it is made of, nearest first."""
        yield info
        for base in info.bases:
            parent = self.sources.index.classes.get(base)
            if parent is not None and depth < 10:
                yield from self.chain(parent, depth + 1)


def read_relationship(
    name: str, value: ast.expr | None, annotation: ast.expr | None
) -> Relationship | None:
    if not isinstance(value, ast.Call):
        return None
    if (dotted(value.func) or "").rpartition(".")[2] not in {"relationship", "Relationship"}:
        return None
    target, many = target_of(annotation)
    if not target and value.args:
        target = named_by(value.args[0])
    keywords: dict[object, ast.expr] = {k.arg: k.value for k in value.keywords}
    inner = keywords.get("sa_relationship_kwargs")
    if isinstance(inner, ast.Dict):
        pairs = zip(inner.keys, inner.values, strict=True)
        keywords |= {k.value: v for k, v in pairs if isinstance(k, ast.Constant)}
    elif inner is not None:
        keywords["lazy"] = inner
    if None in keywords or "viewonly_loader" in keywords:
        keywords.setdefault("lazy", value)
    uselist = keywords.get("uselist")
    if isinstance(uselist, ast.Constant):
        many = bool(uselist.value)
    return Relationship(name, target, lazy_of(keywords.get("lazy")), many, value.lineno)


def lazy_of(node: ast.expr | None) -> str:
    if node is None:
        return "select"
    if not isinstance(node, ast.Constant):
        return "?"
    words: dict[object, str] = {True: "select", False: "joined", None: "noload"}
    return words.get(node.value, str(node.value))


def target_of(annotation: ast.expr | None) -> tuple[str, bool | None]:
    """The class that `Mapped[list["Post"]]` or `list["Post"]` names, and whether it is many."""
    if annotation is None:
        return "", None
    text = ast.unparse(annotation).replace("'", "").replace('"', "")
    text = re.sub(r"^(\w+\.)*(Mapped|WriteOnlyMapped|DynamicMapped)\[(.*)\]$", r"\3", text)
    many = re.match(r"^(\w+\.)*(list|List|set|Set|Sequence|Collection)\[(.*)\]$", text)
    if many:
        text = many[3]
    text = re.sub(r"^(\w+\.)*Optional\[(.*)\]$", r"\2", text).replace("| None", "").strip()
    return (text if re.fullmatch(r"[\w.]+", text) else ""), many is not None


def named_by(node: ast.expr) -> str:
    if isinstance(node, ast.Lambda):
        node = node.body
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return dotted(node) or ""


def is_column(value: ast.expr | None, annotation: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        name = (dotted(value.func) or "").rpartition(".")[2]
        if name in {"Column", "mapped_column", "Field", "column_property", "deferred"}:
            return True
        if annotation is None:
            return False
    return annotation is not None and "ClassVar" not in ast.dump(annotation)


def holds_text(value: ast.expr | None, annotation: ast.expr | None) -> bool:
    """Does the declaration say text, and nothing of lists or JSON?"""
    parts = [ast.unparse(annotation)] if annotation is not None else []
    if isinstance(value, ast.Call):
        parts += [ast.unparse(argument) for argument in value.args if not is_text(argument)]
        parts += [ast.unparse(k.value) for k in value.keywords if k.arg in {"type_", "sa_type"}]
        parts += [ast.unparse(k.value) for k in value.keywords if k.arg == "sa_column"]
    text = " ".join(parts)
    return bool(_TEXT_TYPES.search(text)) and not _NO_TEXT.search(text)


def is_text(node: ast.expr) -> bool:
    """A string literal: the column's name, not its type."""
    return isinstance(node, ast.Constant)
