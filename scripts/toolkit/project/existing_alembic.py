"""Alembic environments that a project already has."""

import ast
import configparser
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.project.errors import ambiguous, bad_option
from toolkit.project.facts import AlembicSetup
from toolkit.project.imports import Module, Resolver, parse
from toolkit.project.root import Location, read_text, read_toml

_ASYNC = re.compile(r"\b(?:async_engine_from_config|create_async_engine|AsyncEngine)\b")


@dataclass(frozen=True)
class FoundAlembic:
    """Environments with their parsed env.py, where that exists and parses."""

    setups: tuple[AlembicSetup, ...] = ()
    modules: tuple[Module, ...] = ()
    unreadable: tuple[str, ...] = ()


def find_alembic(location: Location, resolver: Resolver, ini: str | None) -> FoundAlembic:
    """The environments that ini files (or `[tool.alembic]`) of the project name.

    `ini` chooses one file, relative to the project root or the current folder.
    Raises ProjectError when there are several and none was chosen.
    """
    setups = _standard_names(list(_configured(location)))
    if ini is not None:
        setups = [_chosen(ini, setups, location)]
    elif len(setups) > 1:
        names = [str(setup.ini.relative_to(location.root)) for setup in setups]
        raise ambiguous("several-ini", "several Alembic ini files", names, "--ini FILE")
    found = FoundAlembic()
    for setup in setups:
        found = _with_env(found, setup, resolver)
    return found


def _configured(location: Location) -> Iterator[AlembicSetup]:
    for path in location.files.configuration:
        options = _options(path)
        if options is None:
            continue
        neighbour = path.with_name("pyproject.toml")
        if path.suffix == ".ini" and neighbour in location.files.configuration:
            options = {**(_options(neighbour) or {}), **options}
        written = options.get("script_location")
        if written:
            yield _setup(path, written, options, location)


def _options(path: Path) -> dict[str, str] | None:
    """The `[alembic]` section, None when the file has none."""
    if path.suffix == ".toml":
        section = read_toml(path).get("tool", {}).get("alembic")
        if section is None:
            return None
        return {key: str(value) for key, value in section.items() if isinstance(value, str)}
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(read_text(path))
    except configparser.Error:
        return None
    return dict(parser.items("alembic")) if parser.has_section("alembic") else None


def _setup(ini: Path, written: str, options: dict[str, str], location: Location) -> AlembicSetup:
    scripts = _folder(written, ini, location)
    first = re.split(r"[\s,;]+|(?<!^\w):(?=[/.\w])", options.get("version_locations", "").strip())[
        0
    ]
    versions = _folder(first, ini, location) if first else scripts / "versions"
    return AlembicSetup(
        ini=ini,
        script_location=scripts,
        env=scripts / "env.py",
        versions=versions,
        is_async=False,
        configured_location=written,
    )


def _folder(written: str, ini: Path, location: Location) -> Path:
    """Where `script_location` points, in any of the three ways to write it."""
    text = written.replace("%(here)s", str(ini.parent))
    package = re.fullmatch(r"([A-Za-z_][\w.]*):([\w./-]+)", text)
    if package:
        return location.import_root.joinpath(*package[1].split("."), package[2])
    # Alembic reads a relative path from the folder it is started in: mostly the ini's own.
    here = (ini.parent / text).resolve()
    return (
        here
        if here.exists()
        else next((path for path in [(location.root / text).resolve()] if path.exists()), here)
    )


def _standard_names(setups: list[AlembicSetup]) -> list[AlembicSetup]:
    """Leave out special-purpose copies next to the file that `alembic` reads by default."""

    def is_copy(setup: AlembicSetup) -> bool:
        twins = [o for o in setups if o.ini.parent == setup.ini.parent and o.ini != setup.ini]
        twins = [o for o in twins if o.script_location == setup.script_location]
        return setup.ini.name != "alembic.ini" and any(
            o.ini.name == "alembic.ini" or setup.ini.suffix == ".toml" for o in twins
        )

    return [setup for setup in setups if not is_copy(setup)]


def _chosen(ini: str, setups: list[AlembicSetup], location: Location) -> AlembicSetup:
    candidates = {(location.root / ini).resolve(), Path(ini).resolve()}
    for setup in [*setups, *_configured(location)]:
        if setup.ini.resolve() in candidates:
            return setup
    names = ", ".join(str(s.ini.relative_to(location.root)) for s in setups) or "none"
    raise bad_option(
        "--ini", f"{ini} has no [alembic] section with script_location", f"found: {names}"
    )


def _with_env(found: FoundAlembic, setup: AlembicSetup, resolver: Resolver) -> FoundAlembic:
    if not setup.env.is_file():
        return FoundAlembic((*found.setups, setup), found.modules, found.unreadable)
    # A name that no import can have: nothing in env.py is importable from elsewhere.
    try:
        module = parse(setup.env, "<env.py>")
    except SyntaxError as error:
        line = f"{setup.env}:{error.lineno or 0} {error.msg}"
        return FoundAlembic((*found.setups, setup), found.modules, (*found.unreadable, line))
    full = replace(
        setup,
        is_async=bool(_ASYNC.search(read_text(setup.env))),
        imported_modules=tuple(sorted(_imported(module, resolver))),
    )
    return FoundAlembic((*found.setups, full), (*found.modules, module), found.unreadable)


def _imported(module: Module, resolver: Resolver) -> set[str]:
    found: set[str] = set()
    for node in module.nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolver.absolute(module, node)
            found.add(source)
            found.update(f"{source}.{alias.name}" for alias in node.names)
    return found & resolver.modules.keys()
