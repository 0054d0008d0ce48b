"""Alembic environments that a project already has."""

import ast
import configparser
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.files.reading import why_no_text
from toolkit.project.errors import (
    ProjectError,
    ambiguous,
    bad_option,
    moved_scripts,
    unreadable_ini,
)
from toolkit.project.facts import AlembicSetup, Problem
from toolkit.project.imports import Module, Resolver, parse
from toolkit.project.root import Location, read_text, read_toml

_ASYNC = {"async_engine_from_config", "create_async_engine", "AsyncEngine", "run_sync"}
_ASYNC |= {"asyncio", "anyio"}
_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}

Options = dict[str, str | list[str]]


@dataclass(frozen=True)
class FoundAlembic:
    """Environments with their parsed env.py, where that exists and parses."""

    setups: tuple[AlembicSetup, ...] = ()
    modules: tuple[Module, ...] = ()
    unreadable: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    """What was taken where there were others, and why."""
    problem: Problem | None = None
    """Why it cannot be worked with."""


def find_alembic(
    location: Location,
    resolver: Resolver,
    ini: str | None,
    name: str | None = None,
    *,
    one: bool = True,
) -> FoundAlembic:
    """The environments that ini files (or `[tool.alembic]`) of the project name.

    `ini` chooses one file, relative to the project root or the current folder, `name` one
    section of it, as `alembic -n` does. Raises ProjectError when there are several and none
    was chosen, unless the caller can do without `one`.
    """
    everything = list(_configured(location))
    if ini is not None or name is not None:
        everything = _chosen(ini, name, everything, location)
    setups = _standard_names(everything)
    found = FoundAlembic()
    nearest = setups if ini is not None else _nearest(setups, location)
    if len(nearest) < len(setups):
        found = FoundAlembic(choices=(_why(nearest[0], setups, location),))
        setups = nearest
    if one and len(setups) > 1:
        raise _several(setups, location)
    for setup in setups:
        found = _with_env(found, setup, resolver)
    return replace(found, problem=_problem(setups[0], everything, location) if setups else None)


def _problem(
    setup: AlembicSetup, everything: Sequence[AlembicSetup], location: Location
) -> Problem | None:
    """Why neither Alembic nor we can work with it, where that is a line of the ini."""
    if setup.ini.suffix == ".ini" and (why := why_no_text(setup.ini)):
        return unreadable_ini(setup.ini.relative_to(location.root), why)
    if setup.env.is_file():
        return None
    # It was moved or renamed: a new one would begin a second history.
    named = {one.env.resolve() for one in everything}
    others = (
        env
        for env in location.files.python
        if env.name == "env.py"
        and env.resolve() not in named
        and env.with_name("script.py.mako").is_file()
    )
    return next((moved_scripts(setup, env, location.root) for env in others), None)


def _nearest(setups: list[AlembicSetup], location: Location) -> list[AlembicSetup]:
    """Those of the folder that the script was started in, else of the next above; of these the
    one that `alembic` takes by itself (#12).
    """
    inside = location.here.is_relative_to(location.root)
    start = location.here if inside else location.root
    for folder in (start, *start.parents):
        here = [setup for setup in setups if setup.ini.parent == folder]
        if here:
            return [setup for setup in here if setup.ini.name == "alembic.ini"] or here
        if folder == location.root:
            break
    return setups


def _why(taken: AlembicSetup, setups: list[AlembicSetup], location: Location) -> str:
    files = dict.fromkeys(str(one.ini.relative_to(location.root)) for one in setups)
    mine = str(taken.ini.relative_to(location.root))
    others = ", ".join(name for name in files if name != mine)
    where = "in this folder" if taken.ini.parent == location.here else "the nearest"
    return f"{mine} is taken, {where}, and not {others} (--ini FILE names another)"


def _several(setups: Sequence[AlembicSetup], location: Location) -> ProjectError:
    files = list(dict.fromkeys(str(setup.ini.relative_to(location.root)) for setup in setups))
    sections = [setup.section for setup in setups]
    if len(files) == 1:
        return ambiguous(
            "several-sections", f"several Alembic set-ups in {files[0]}", sections, "--name SECTION"
        )
    if len(files) == len(setups):
        return ambiguous("several-ini", "several Alembic ini files", files, "--ini FILE")
    names = [f"{setup.ini.relative_to(location.root)}:{setup.section}" for setup in setups]
    flags = "--ini FILE and --name SECTION"
    return ambiguous("several-ini", "several Alembic set-ups", names, flags)


def _configured(location: Location) -> Iterator[AlembicSetup]:
    for path in location.files.configuration:
        for section, options in _sections(path).items():
            neighbour = path.with_name("pyproject.toml")
            shared: Options = {}
            if path.suffix == ".ini" and neighbour in location.files.configuration:
                shared = _sections(neighbour).get("alembic", {})
            merged = {**shared, **options}
            if merged.get("script_location"):
                yield _setup(path, section, merged, location)


def _sections(path: Path) -> dict[str, Options]:
    """`[alembic]` as Alembic reads it, and what else `alembic -n` can name: a section with a
    script_location of its own (#12)."""
    here = {"here": path.absolute().parent.as_posix()}
    if path.suffix == ".toml":
        section = read_toml(path).get("tool", {}).get("alembic")
        return {} if section is None else {"alembic": dict(_toml_values(section, here))}
    parser = configparser.ConfigParser(here, strict=False)
    # Without defaults: what [DEFAULT] says is not yet a set-up in each section.
    own = configparser.RawConfigParser(strict=False, default_section="")
    try:
        for one in (parser, own):
            one.read_string(read_text(path))
    except configparser.Error:
        return {}
    return {
        name: {key: _interpolated(parser[name], key, here) for key in parser[name]}
        for name in parser.sections()
        if name == "alembic" or own.has_option(name, "script_location")
    }


def _toml_values(section: object, here: dict[str, str]) -> Iterator[tuple[str, str | list[str]]]:
    for key, value in section.items() if isinstance(section, dict) else ():
        if isinstance(value, str):
            yield key, _with_here(value, here)
        elif isinstance(value, list) and all(isinstance(one, str) for one in value):
            yield key, [_with_here(one, here) for one in value]


def _interpolated(section: configparser.SectionProxy, name: str, here: dict[str, str]) -> str:
    try:
        return section[name]
    except configparser.InterpolationError:  # Alembic stops at it only where it needs it
        return _with_here(str(section.get(name, raw=True)), here)


def _with_here(text: str, here: dict[str, str]) -> str:
    return text.replace("%(here)s", here["here"])


def _setup(ini: Path, section: str, options: Options, location: Location) -> AlembicSetup:
    written = str(options["script_location"])
    revisions = _version_locations(options)
    folders = (ini.parent, location.import_root, location.root)
    started_in = _started_in(folders, [written, *revisions])
    scripts = _folder(written, started_in, location)
    versions = tuple(_folder(one, started_in, location) for one in revisions)
    return AlembicSetup(
        ini=ini,
        script_location=scripts,
        env=scripts / "env.py",
        versions=versions or (scripts / "versions",),
        is_async=False,
        section=section,
        started_in=started_in,
    )


def _version_locations(options: Options) -> list[str]:
    """The paths in `version_locations`, cut where Alembic cuts them."""
    text = options.get("version_locations", "")
    if isinstance(text, list):
        return text
    named = options.get("path_separator", options.get("version_path_separator"))
    if named is None:
        parts = re.split(r", *| +", text)
    else:
        parts = text.split(_SEPARATORS.get(str(named), os.pathsep))
    return [part.strip() for part in parts if part.strip()]


def _started_in(folders: Sequence[Path], written: Sequence[str]) -> Path:
    """Where `alembic` is run: relative paths count from there, mostly the ini's own folder.

    The first folder in which the most of them are there.
    """
    relative = [text for text in written if ":" not in text]
    return max(folders, key=lambda folder: sum((folder / text).exists() for text in relative))


def _folder(written: str, started_in: Path, location: Location) -> Path:
    """Where one path of an ini points; `package:folder:folder` is looked up as an import."""
    if ":" not in written or Path(written).is_absolute():
        return (started_in / written).resolve()
    package, *inside = written.split(":")
    roots = (location.import_root, location.root, started_in)
    found = [root.joinpath(*package.split(".")) for root in roots]
    return next((path for path in found if path.is_dir()), found[0]).joinpath(*inside)


def _standard_names(setups: list[AlembicSetup]) -> list[AlembicSetup]:
    """Leave out special-purpose copies next to what `alembic` reads by default."""

    def is_copy(setup: AlembicSetup) -> bool:
        twins = [o for o in setups if o.script_location == setup.script_location and o != setup]
        if setup.section != "alembic":
            return any(o.section == "alembic" and o.versions == setup.versions for o in twins)
        twins = [o for o in twins if o.ini.parent == setup.ini.parent and o.ini != setup.ini]
        return setup.ini.name != "alembic.ini" and any(
            o.ini.name == "alembic.ini" or setup.ini.suffix == ".toml" for o in twins
        )

    return [setup for setup in setups if not is_copy(setup)]


def _chosen(
    ini: str | None, name: str | None, setups: list[AlembicSetup], location: Location
) -> list[AlembicSetup]:
    if ini is not None:
        candidates = {(location.root / ini).resolve(), Path(ini).resolve()}
        in_file = [setup for setup in setups if setup.ini.resolve() in candidates]
        if not in_file:
            names = sorted({str(setup.ini.relative_to(location.root)) for setup in setups})
            raise bad_option(
                "--ini",
                f"{ini} has no [alembic] section with script_location",
                f"found: {', '.join(names) or 'none'}",
            )
        setups = in_file
    if name is None:
        return setups
    named = [setup for setup in setups if setup.section == name]
    if not named:
        names = sorted({setup.section for setup in setups})
        raise bad_option(
            "--name",
            f"no ini has a section [{name}] with script_location",
            f"found: {', '.join(names) or 'none'}",
        )
    return named


def _with_env(found: FoundAlembic, setup: AlembicSetup, resolver: Resolver) -> FoundAlembic:
    if not setup.env.is_file():
        return replace(found, setups=(*found.setups, setup))
    # A name that no import can have: nothing in env.py is importable from elsewhere.
    try:
        module = parse(setup.env, "<env.py>")
    except SyntaxError as error:
        line = f"{setup.env}:{error.lineno or 0} {error.msg}"
        unreadable = (*found.unreadable, line)
        return replace(found, setups=(*found.setups, setup), unreadable=unreadable)
    full = replace(
        setup,
        is_async=_is_async(module, resolver),
        imported_modules=tuple(sorted(_imported(module, resolver))),
    )
    return replace(found, setups=(*found.setups, full), modules=(*found.modules, module))


def _is_async(module: Module, resolver: Resolver) -> bool:
    """Does env.py connect asynchronously: by itself, or in a function that it calls? (#12)"""
    if _awaits(module.nodes):
        return True
    called = {
        node.func.id
        for node in module.nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    places = [resolver.locate(resolver.qualify(module, name)) for name in called]
    functions = [resolver.bindings(one[0]).functions.get(one[1]) for one in places if one]
    return any(_awaits(ast.walk(function)) for function in functions if function is not None)


def _awaits(nodes: Iterable[ast.AST]) -> bool:
    return any(
        isinstance(node, ast.AsyncFunctionDef | ast.AsyncWith | ast.Await)
        or (isinstance(node, ast.Name) and node.id in _ASYNC)
        or (isinstance(node, ast.Attribute) and node.attr in _ASYNC)
        for node in nodes
    )


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
