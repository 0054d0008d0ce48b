"""Where the database URL comes from: candidates, best first, never a value."""

import ast
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.project.calls import CallIndex, CallSite, Place, module_calls, promise
from toolkit.project.errors import bad_option
from toolkit.project.facts import SettingsObject, UrlKind, UrlSource
from toolkit.project.imports import Module, Resolver, dotted
from toolkit.project.looks import SCHEMES, VARIABLES
from toolkit.project.root import read_text
from toolkit.project.settings import URL_NAME
from toolkit.project.trace import Origin, Tracer

_ENGINES = {"create_async_engine", "create_engine"}
_CONFIGURATIONS = {"SQLAlchemyAsyncConfig", "SQLAlchemySyncConfig"}
_SCHEME = re.compile(r"^(?:postgres(?:ql)?|mysql|mariadb|sqlite|cockroachdb)(?:\+\w+)?(?=:|$)")
_ENV_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*['\"]?(.*)$", re.MULTILINE)
_ENV_FILES = (".env", ".env.example", ".env.sample", ".env.template", ".env.dist", "env.example")
_REFERENCE = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_].*$")


@dataclass
class UrlFacts:
    """What is known about the URL."""

    sources: tuple[UrlSource, ...] = ()
    notes: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    scheme: str | None = None


@dataclass
class _Collected:
    sources: list[UrlSource] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, origins: Iterable[Origin], *, in_use: bool = False) -> None:
        for origin in origins:
            place = origin.module.path, origin.line
            self.sources.append(UrlSource(_kind(origin), origin.reference, *place, in_use))


def find_urls(
    resolver: Resolver,
    settings: tuple[SettingsObject, ...],
    environments: Iterable[Module],
    folders: Iterable[Path],
) -> UrlFacts:
    """Candidates in this order: what an engine of the project uses, settings
    attributes, what env.py uses, environment variables read anywhere, names in
    `.env` files of `folders`.
    """
    calls = CallIndex(resolver)
    tracer = Tracer(calls)
    found = _Collected()
    for site in sorted(_engine_calls(calls), key=_promise):
        _from_engine(tracer, site, found)
    for item in settings:
        for expression in item.url_expressions:
            reference = f"{item.module}:{expression}"
            found.sources.append(UrlSource("settings", reference, item.path, item.line))
    for module in environments:
        in_use = list(_from_env_py(tracer, module))
        found.add(in_use, in_use=True)
        if in_use:  # what cannot be told from the engine, env.py has told
            found.notes.clear()
    for module in resolver.having(VARIABLES.search):
        found.add(_environment_reads(tracer, module))
    files = [folder / name for folder in folders for name in _ENV_FILES]
    for path in files:
        for name, line in _env_keys(path):
            found.sources.append(UrlSource("environment", f"env:{name}", path, line))
    sources = _distinct(sorted(found.sources, key=_is_for_tests))
    return UrlFacts(
        sources,
        tuple(dict.fromkeys(found.notes)),
        _schemes(resolver, files),
        _scheme_in_use(sources, files),
    )


def chosen_url(text: str) -> UrlSource:
    """The source that `--url-from` names. Raises ProjectError for a wrong form."""
    if text.startswith("env:") and text[4:].isidentifier():
        return UrlSource("environment", text)
    if _REFERENCE.match(text) and not text.startswith("env:"):
        return UrlSource("settings", text)
    # A URL given by mistake may hold a password: do not repeat it.
    raise bad_option(
        "--url-from",
        "neither env:NAME nor module:expression",
        "for example --url-from env:DATABASE_URL or --url-from app.config:settings.database_url",
    )


def _engine_calls(calls: CallIndex) -> Iterator[CallSite]:
    for name, site in calls.called(_ENGINES | _CONFIGURATIONS):
        top, last = name.split(".")[0], name.rsplit(".", 1)[-1]
        known = top in {"sqlalchemy", "sqlmodel"} and last in _ENGINES
        if known or (top == "advanced_alchemy" and last in _CONFIGURATIONS):
            yield site


def _promise(site: CallSite) -> tuple[bool, bool, bool, bool, str, int]:
    last = (dotted(site.call.func) or "").rsplit(".", 1)[-1].lower()
    is_test, *others = promise(site, _url_arguments(site))
    where = str(site.place.module.path), site.call.lineno
    return is_test, "async" not in last, others[0], others[1], *where


def _url_arguments(site: CallSite) -> list[ast.expr]:
    names = {"url", "connection_string"}
    return [k.value for k in site.call.keywords if k.arg in names] or site.call.args[:1]


def _from_engine(tracer: Tracer, site: CallSite, found: _Collected) -> None:
    arguments = _url_arguments(site)
    if not arguments:
        return
    origins = tracer.trace(arguments[0], site.place)
    if origins:
        found.add(origins, in_use=True)
        # A hard-coded URL or an unset variable is best had from the engine itself.
        if not all(origin.reference.startswith("literal:") for origin in origins):
            return
    module = site.place.module.name
    if site.assigned and module in tracer.resolver.modules:
        reference = f"{module}:{site.assigned}.url"
        found.sources.insert(
            len(found.sources) - len(origins),
            UrlSource("settings", reference, site.place.module.path, site.call.lineno, True),
        )
    elif not origins:
        found.notes.append(
            f"{site.label} builds the database URL in place; name it with --url-from"
        )


def _from_env_py(tracer: Tracer, module: Module) -> Iterator[Origin]:
    for site in module_calls(module):
        name = (dotted(site.call.func) or "").rsplit(".", 1)[-1]
        arguments = [k.value for k in site.call.keywords if k.arg == "url"]
        if name == "set_main_option" and len(site.call.args) == 2:
            key = site.call.args[0]
            if isinstance(key, ast.Constant) and key.value == "sqlalchemy.url":
                arguments.append(site.call.args[1])
        elif name in _ENGINES:
            arguments += site.call.args[:1]
        for argument in arguments:
            yield from tracer.trace(_without_rewrites(argument), site.place)
    for node in module.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            key = node.targets[0].slice
            if isinstance(key, ast.Constant) and key.value in {"sqlalchemy.url", "url"}:
                yield from tracer.trace(_without_rewrites(node.value), Place(module))


def _without_rewrites(node: ast.expr) -> ast.expr:
    """Drop `.replace(…)`: env.py escapes `%` or swaps drivers, which is not the source."""
    while (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"replace", "render_as_string"}
    ):
        node = node.func.value
    return node


def _environment_reads(tracer: Tracer, module: Module) -> Iterator[Origin]:
    for node in module.nodes:
        if isinstance(node, ast.Call | ast.Subscript):
            name = tracer.env_name(node, Place(module))
            if name and URL_NAME.search(name):
                yield Origin(f"env:{name}", module, node.lineno)


def _env_keys(path: Path) -> Iterator[tuple[str, int]]:
    text = read_text(path) if path.is_file() else ""
    for match in _ENV_LINE.finditer(text):
        if URL_NAME.search(match[1]):
            yield match[1], text.count("\n", 0, match.start(1)) + 1


def _schemes(resolver: Resolver, env_files: list[Path]) -> tuple[str, ...]:
    """Dialects and drivers by the beginnings of strings; the rest is not looked at."""
    found: dict[str, None] = {}
    for module in resolver.having(SCHEMES.search):
        mentioned: dict[str, None] = {}
        compared: set[int] = set()  # `if url.drivername == "..."` asks, and says nothing
        for node in module.nodes:
            if isinstance(node, ast.Compare):
                compared |= {id(part) for part in (node.left, *node.comparators)}
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) in compared:
                    continue
                match = _SCHEME.match(node.value)
                if match and "://" in node.value:
                    found[match[0]] = None
                elif match and "+" in match[0]:
                    mentioned[match[0]] = None
        # A table of drivers, as in templates/database_url.py, says nothing of this project.
        if len({re.split(r"ql|\+", scheme)[0] for scheme in mentioned}) == 1:
            found |= mentioned
    for path in env_files:
        for line in _ENV_LINE.finditer(read_text(path) if path.is_file() else ""):
            match = _SCHEME.match(line[2])
            if match and "://" in line[2]:
                found[match[0]] = None
    return tuple(found)


def _scheme_in_use(sources: tuple[UrlSource, ...], env_files: list[Path]) -> str | None:
    """The scheme of the URL itself, where the environment or a `.env` has it."""
    # `settings.database_url` is filled from the variable DATABASE_URL.
    names = [
        re.split(r"[.:]", source.reference)[-1].removesuffix("()").upper()
        for source in sources
        if source.kind != "literal"
    ]
    values = [os.environ.get(name, "") for name in (*names, "DATABASE_URL")]
    for path in env_files:
        if path.name == ".env" and path.is_file():
            lines = _ENV_LINE.findall(read_text(path))
            values += [value for key, value in lines if key.upper() in {*names, "DATABASE_URL"}]
    matches = (_SCHEME.match(value) for value in values if "://" in value)
    return next((match[0] for match in matches if match), None)


def _kind(origin: Origin) -> UrlKind:
    prefix = origin.reference.split(":", 1)[0]
    return {"env": "environment", "literal": "literal"}.get(prefix, "settings")  # type: ignore[return-value]


def _is_for_tests(source: UrlSource) -> bool:
    if source.kind == "literal":
        return False
    return bool(re.search(r"(?:^|_|\W)test", source.reference, re.IGNORECASE))


def _distinct(sources: Iterable[UrlSource]) -> tuple[UrlSource, ...]:
    """Each once; of one function's calls the best, whatever switches the others throw (#12)."""
    found: dict[str, UrlSource] = {}
    used: set[str] = set()
    for source in sources:
        key = _without_switches(source)
        found.setdefault(key, source)
        used |= {key} if source.in_use else set()
    return tuple(replace(one, in_use=key in used) for key, one in found.items())


def _without_switches(source: UrlSource) -> str:
    module, _, expression = source.reference.partition(":")
    if source.kind != "settings" or "(" not in expression:
        return source.reference
    tree = ast.parse(expression, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.args, node.keywords = [], []
    return f"{module}:{ast.unparse(tree)}"
