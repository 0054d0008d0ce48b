"""The one part of env.py that is about the project, as text."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from toolkit.project.facts import MetadataSource, UrlSource

BEGIN = "# -- project settings (setup-alembic.sh writes this block) --"
END = "# -- end of project settings --"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BlockError(ValueError):
    """A reference that cannot be written as Python; the text says which and why."""


@dataclass(frozen=True)
class EnvFile:
    """An env.py with a settings block, cut at the two marker lines."""

    head: str
    block: str
    tail: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None where there is no settings block, so that the file is a person's."""
        normal = text.replace("\r\n", "\n")
        head, begin, rest = normal.partition(f"{BEGIN}\n")
        block, end, tail = rest.partition(f"{END}\n")
        return cls(head, block, tail) if begin and end else None

    def text(self) -> str:
        return f"{self.head}{BEGIN}\n{self.block}{END}\n{self.tail}"

    def with_block(self, block: str) -> "EnvFile":
        return EnvFile(self.head, block, self.tail)

    def same_code(self, other: "EnvFile") -> bool:
        """Whether everything outside of the block is equal."""
        return (self.head, self.tail) == (other.head, other.tail)


def render_block(
    modules: Sequence[str],
    metadata: Sequence[MetadataSource],
    url: UrlSource,
    *,
    dotenv: bool = False,
    dialects: str = "",
    normalizer: str = "",
) -> str:
    """The settings block for these modules, metadatas and this URL source.

    `dialects`: the line of that setting, where more is known than what the template says;
    `normalizer`: the project's module with `normalize_url`, by which the application connects.
    """
    rendered = render_url(url, dotenv=dotenv)
    parts = render_metadata(metadata), normalized(rendered, normalizer) if normalizer else rendered
    first = render_modules(modules) + (f"\n{ABOUT_DIALECTS}{dialects}" if dialects else "")
    return "\n\n".join((first, *parts)) + "\n\n"


ABOUT_DIALECTS = "# The databases of this project, for which types and revisions are written.\n"


def render_modules(modules: Sequence[str]) -> str:
    if not modules:
        return "MODEL_MODULES: tuple[str, ...] = ()\n"
    lines = "".join(f'    "{module}",\n' for module in modules)
    return f"MODEL_MODULES: tuple[str, ...] = (\n{lines})\n"


def render_metadata(metadata: Sequence[MetadataSource]) -> str:
    # Two bases may have the same name in two modules.
    names = [source.name for source in metadata]
    aliases = [
        f"{name}_{number}" if names.count(name) > 1 else name
        for number, name in enumerate(names, start=1)
    ]
    imports = sorted(
        f"    from {source.module} import {_import_as(source.name, alias)}\n"
        for source, alias in zip(metadata, aliases, strict=True)
    )
    expressions = [
        source.expression.replace(source.name, alias, 1)
        for source, alias in zip(metadata, aliases, strict=True)
    ]
    value = expressions[0] if len(expressions) == 1 else f"[{', '.join(expressions)}]"
    return (
        "def load_metadata() -> MetaData | list[MetaData]:\n"
        '    """The tables that the migrations are about."""\n'
        f"{''.join(imports)}\n"
        f"    return {value}\n"
    )


LOAD_DOTENV = """\
    from dotenv import load_dotenv

    load_dotenv()  # the .env above this file; what is set already stays
"""


def render_url(source: UrlSource, *, dotenv: bool = False) -> str:
    """`database_url` for `env:NAME` or `module:expression`; `dotenv`: which a `.env` may set."""
    module, _, expression = source.reference.partition(":")
    head = "def database_url() -> str | URL:\n"
    if module == "env":
        if not _VARIABLE.fullmatch(expression):
            raise BlockError(f"{expression!r} is no name of an environment variable")
        return (
            f"{head}"
            f'    """The environment variable {expression}."""\n'
            "    import os\n\n"
            f"{LOAD_DOTENV if dotenv else ''}"
            f'    url = os.environ.get("{expression}")\n'
            "    if not url:\n"
            "        raise RuntimeError(\n"
            f'            "the environment variable {expression} is not set: "\n'
            f'            "export {expression}=postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE"\n'
            "        )\n"
            "    return url\n"
        )
    return (
        f"{head}"
        f'    """`{expression}` of `{module}`, also where it is a secret or a DSN object."""\n'
        f"{render_url_value(source)}"
        "    return url if isinstance(url, URL) else str(url)\n"
    )


def normalized(rendered: str, module: str) -> str:
    """`database_url` that also gives what the application makes of the URL's parameters (#13)."""
    head, _, returned = rendered.rpartition("    return ")
    head = head.replace("-> str | URL:", "-> tuple[URL, dict[str, Any]]:")
    return (
        f"{head}    from {module} import normalize_url\n\n"
        f"    return normalize_url({returned.strip()})\n"
    )


def render_url_value(source: UrlSource) -> str:
    """Lines of a function body that bind `url`, for a source that is not the environment."""
    module, _, expression = source.reference.partition(":")
    return (
        f"    from {module} import {first_name(expression)}\n\n"
        f"    url = {expression}\n"
        '    if hasattr(url, "get_secret_value"):\n'
        "        url = url.get_secret_value()\n"
    )


def first_name(expression: str) -> str:
    """The name that has to be imported for `expression`.

    Raises BlockError unless it is a chain of attributes, calls and subscripts.
    """
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError:
        raise BlockError(f"{expression!r} is no Python expression") from None
    node = tree.body
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            raise BlockError(f"{expression!r} does not begin with a name to import")
    return node.id


def completed(block: str, template: str) -> str:
    """`block` with the settings of the template that it lacks: the code around it has them."""
    known = {name for statement in ast.parse(block).body for name in _names(statement)}
    lines = template.splitlines(keepends=True)
    added = ""
    for statement in ast.parse(template).body:
        if not isinstance(statement, ast.AnnAssign) or known & set(_names(statement)):
            continue
        first = statement.lineno - 1
        while first and lines[first - 1].startswith("#"):
            first -= 1
        added += "\n" + "".join(lines[first : statement.end_lineno])
    found = _modules_statement(block)
    end = (found[0].end_lineno or 0) if found else 0
    before = block.splitlines(keepends=True)
    return "".join([*before[:end], added if end else f"{added.lstrip()}\n", *before[end:]])


def _names(statement: ast.stmt) -> list[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    elif isinstance(statement, ast.Assign):
        targets = statement.targets
    return [target.id for target in targets if isinstance(target, ast.Name)]


def modules_of(block: str) -> tuple[str, ...] | None:
    """What MODEL_MODULES holds in `block`; None where it is not a plain tuple of strings."""
    found = _modules_statement(block)
    return None if found is None else found[1]


def with_modules(block: str, modules: Sequence[str]) -> str | None:
    """`block` with another MODEL_MODULES and everything else as it was."""
    found = _modules_statement(block)
    if found is None:
        return None
    statement, _ = found
    lines = block.splitlines(keepends=True)
    lines[statement.lineno - 1 : statement.end_lineno] = [render_modules(modules)]
    return "".join(lines)


def _modules_statement(block: str) -> tuple[ast.stmt, tuple[str, ...]] | None:
    try:
        body = ast.parse(block).body
    except SyntaxError:
        return None
    for statement in body:
        if isinstance(statement, ast.AnnAssign):
            target: ast.expr = statement.target
            value = statement.value
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        else:
            continue
        if not isinstance(target, ast.Name) or target.id != "MODEL_MODULES" or value is None:
            continue
        try:
            names = ast.literal_eval(value)
        except ValueError:
            return None
        if isinstance(names, tuple | list) and all(isinstance(name, str) for name in names):
            return statement, tuple(names)
    return None


def _import_as(name: str, alias: str) -> str:
    return name if alias == name else f"{name} as {alias}"
