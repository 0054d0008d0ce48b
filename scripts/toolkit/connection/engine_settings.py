"""How the project makes its engine: as its source says literally, else as importing it shows."""

import ast
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.connection.source import engines_of
from toolkit.project.facts import Project
from toolkit.project.imports import Module, module_name, read

POOL_SIZE, MAX_OVERFLOW = 5, 10  # SQLAlchemy's own
NUMBERS = ("pool_size", "max_overflow", "pool_timeout", "pool_recycle")
MANAGER = "session_manager"
MAKERS = ("create_async_engine", "create_engine")
REWRITES = re.compile(r"\bnormalize_url\b|\.replace\(\s*f?['\"]postgres|set\(\s*drivername")


@dataclass(frozen=True)
class EngineSettings:
    """What decides how many connections there are, and how the driver behaves on them."""

    pool_size: int = POOL_SIZE
    max_overflow: int = MAX_OVERFLOW
    pool_timeout: float = 30.0
    pool_recycle: int = -1
    pre_ping: bool = False
    no_pool: bool = False
    """poolclass=NullPool: a connection for each use."""
    connect_args: Mapping[str, Any] = field(default_factory=dict)
    """Literal ones only."""
    rewrites_url: bool | None = None
    """Does the project change its URL before it makes the engine? None: no project."""
    synchronous: bool = False
    """Is the application synchronous throughout?"""
    origin: str = "SQLAlchemy's defaults"
    notes: tuple[str, ...] = ()

    @property
    def capacity(self) -> int:
        """The most connections of one process; with NullPool there is no limit."""
        return self.pool_size + self.max_overflow


def read_engine(project: Project | None, url: str, seconds: float = 0) -> EngineSettings:
    """The settings of the project's engine; SQLAlchemy's own where the source says nothing.

    Of several the one that could be made of this URL: `check_same_thread` is SQLite's (#12).

    Numbers that are not literals are those of the engine itself, which a process of its own
    makes within `seconds` (0: is not asked), and which connects to nothing (#14).
    """
    if project is None:
        return EngineSettings()
    sources = [module for path in project.files if (module := source(path)) is not None]
    calls = sorted(
        engine_calls(sources),
        key=lambda call: (not url.startswith("sqlite") and is_of_sqlite(call[2]), call[0]),
    )
    rewrites = any(REWRITES.search(one.text) for one in sources if not is_outside_the_app(one.path))
    if not calls:
        return EngineSettings(rewrites_url=rewrites or None)
    _, path, call = calls[0]
    place = f"{path.relative_to(project.root)}:{call.lineno}"
    settings = settings_of(call, place, sources, rewrites=rewrites)
    literal_ones = (literal(one.value) is not None for one in call.keywords if one.arg in NUMBERS)
    if not seconds or (all(literal_ones) and all(one.arg for one in call.keywords)):
        return settings
    return as_made(project, path, settings, seconds)


def as_made(
    project: Project, path: Path, settings: EngineSettings, seconds: float
) -> EngineSettings:
    """With the numbers of the pool that the application makes, where that can be seen."""
    files = [one for one in (path, path.with_name(f"{MANAGER}.py")) if one.is_file()]
    own = [module_name(one, project.import_roots, project.root) for one in files]
    app = project.app.partition(":")[0] if project.app else None
    modules = [one for one in dict.fromkeys((app, *own)) if one is not None]
    if not modules:
        return settings
    answer = engines_of(project, modules, seconds)
    pools = json.loads(answer.get("value", "[]"))
    distinct = {tuple(pool.values()): pool for pool in pools}
    if len(distinct) != 1:
        why = f"{len(distinct)} pools" if "value" in answer else answer["type"]
        note = f"the application's engine could not be asked ({why}): read from the source"
        return replace(settings, notes=(*settings.notes, note))
    (pool,) = distinct.values()
    found = {name: pool[name] for name in NUMBERS if pool[name] is not None}
    literals = tuple(f"{name} is " for name in NUMBERS)
    notes = [
        one
        for one in settings.notes
        if not one.startswith(literals) and "SQLAlchemy's default is taken" not in one
    ]
    return replace(
        settings,
        **found,
        no_pool=pool["kind"] == "NullPool",
        origin=f"the engine as the application makes it ({settings.origin})",
        notes=tuple(notes),
    )


def source(path: Path) -> Module | None:
    try:
        return read(path, path.stem)
    except (SyntaxError, OSError):
        return None


def engine_calls(
    sources: Sequence[Module],
) -> Iterator[tuple[tuple[bool, str, int], Path, ast.Call]]:
    """Calls that make an engine, asynchronous ones first; not that of env.py."""
    for module in sources:
        if is_outside_the_app(module.path) or module.words.isdisjoint(MAKERS):
            continue
        for node in module.nodes:
            if isinstance(node, ast.Call) and (name := last_name(node.func)) in MAKERS:
                yield (name != MAKERS[0], str(module.path), node.lineno), module.path, node


def is_of_sqlite(call: ast.Call) -> bool:
    given = next((one.value for one in call.keywords if one.arg == "connect_args"), None)
    return "check_same_thread" in connect_args(given)[0]


def is_outside_the_app(path: Path) -> bool:
    return path.name == "env.py" or path.name.startswith("test")


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def settings_of(
    call: ast.Call, place: str, sources: Sequence[Module], *, rewrites: bool
) -> EngineSettings:
    keywords = {one.arg: one.value for one in call.keywords if one.arg}
    values: dict[str, Any] = {}
    notes: list[str] = []
    for name in (*NUMBERS, "pool_pre_ping"):
        if name not in keywords:
            continue
        value, where = number(name, keywords[name], sources)
        if value is None:
            notes.append(f"{place}: {name} is not a literal; SQLAlchemy's default is taken")
        else:
            values[name] = value
            notes += [f"{name} is {value}: {where}"] if where else []
    arguments, unread = connect_args(keywords.get("connect_args"))
    notes += [f"{place}: connect_args' {name} is not a literal, not used here" for name in unread]
    if for_pgbouncer(sources):
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        notes.append("the project's DatabaseConfig is set for PgBouncer")
    return EngineSettings(
        pool_size=int(values.get("pool_size", POOL_SIZE)),
        max_overflow=int(values.get("max_overflow", MAX_OVERFLOW)),
        pool_timeout=float(values.get("pool_timeout", 30.0)),
        pool_recycle=int(values.get("pool_recycle", -1)),
        pre_ping=bool(values.get("pool_pre_ping", False)),
        no_pool=last_name(keywords.get("poolclass", call)) == "NullPool",
        connect_args=arguments,
        rewrites_url=rewrites,
        origin=place,
        notes=tuple(notes),
    )


def number(name: str, value: ast.expr, sources: Sequence[Module]) -> tuple[float | None, str]:
    """The value of an argument, and where it was found if not in the call itself.

    `config.pool_size` is the default of a class's field of that name, if there is one
    only, or what DATABASE_POOL_SIZE says, as the settings of this skill's template do.
    """
    found = literal(value)
    if found is not None or not isinstance(value, ast.Attribute):
        return found, ""
    variable = f"DATABASE_{value.attr.upper()}"
    if re.fullmatch(r"\d+(\.\d+)?", os.environ.get(variable, "")):
        number = ast.literal_eval(os.environ[variable])
        return number, f"the environment variable {variable}"
    fields = {
        (default, f"{module.path.name}:{line}")
        for module in sources
        for default, line in field_defaults(module, value.attr)
    }
    if len({default for default, _ in fields}) != 1:
        return None, ""
    default, place = min(fields)
    return default, f"the default at {place}"


def field_defaults(module: Module, name: str) -> Iterator[tuple[float, int]]:
    for node in module.nodes if name in module.words else ():
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and last_name(line.target) == name:
                    default = literal(line.value) if line.value else None
                    if default is not None:
                        yield default, line.lineno


def literal(node: ast.expr) -> float | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if isinstance(value, int | float) else None


def connect_args(node: ast.expr | None) -> tuple[dict[str, Any], list[str]]:
    """The literal entries of a dictionary, and the names of the others."""
    values: dict[str, Any] = {}
    unread: list[str] = []
    if node is None:
        return values, unread
    if not isinstance(node, ast.Dict):
        return values, ["dictionary"]
    for key, value in zip(node.keys, node.values, strict=True):
        name = key.value if isinstance(key, ast.Constant) else "**"
        try:
            values[str(name)] = ast.literal_eval(value)
        except ValueError:
            unread.append(str(name))
    return values, unread


def for_pgbouncer(sources: Sequence[Module]) -> bool:
    """Is the DatabaseConfig of this skill's template, if it is there, set for PgBouncer?"""
    about = [module for module in sources if "pgbouncer" in module.words]
    if not any(True for module in about for _ in field_defaults(module, "pgbouncer")):
        return False
    if os.environ.get("DATABASE_PGBOUNCER", "").lower() in ("1", "true", "yes", "on"):
        return True
    return any(
        keyword.arg == "pgbouncer" and literal(keyword.value) == 1
        for module in about
        for node in module.nodes
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    )
