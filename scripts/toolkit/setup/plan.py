"""What is to be written into this project, and why. Reads files, writes none."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.database.urls import Kind, kind_of
from toolkit.project.databases import databases_of, guess, setting, titles
from toolkit.project.facts import AlembicSetup, Project, UrlSource
from toolkit.project.reach import missing_modules
from toolkit.report.exits import Exit
from toolkit.report.quoting import command
from toolkit.setup.changes import FileChange, read_text, real_changes, relative
from toolkit.setup.env_file import Wanted, plan_env
from toolkit.setup.errors import SetupError
from toolkit.setup.ini import missing_hooks, render_ini, with_import_root
from toolkit.setup.scaffold import plan_scaffold
from toolkit.setup.settings_block import BlockError

DEFAULT_URL = UrlSource("environment", "env:DATABASE_URL")


@dataclass(frozen=True)
class Options:
    """The part of the command line that decides about files."""

    scaffold: str | None = None
    force: bool = False
    explicit: bool = False
    """--base or --url-from was given."""
    dry_run: bool = False
    dialects: tuple[Kind, ...] = ()
    """--dialects"""


@dataclass(frozen=True)
class Plan:
    changes: tuple[FileChange, ...]
    """Empty: nothing to do. In an order in which a half-done state does least harm."""
    notes: tuple[str, ...]
    """What the person should know or do, one line each."""
    ini: Path
    url: UrlSource
    modules: tuple[str, ...]
    force: bool
    lost: tuple[str, ...] = ()
    """What a replaced env.py told Alembic, and the new one does not."""
    layer: str | None = None
    """Of a look at a project without a database layer: the package that one may go into."""

    @property
    def blocked(self) -> tuple[FileChange, ...]:
        """Hand-written files that would be replaced, which needs --force."""
        return () if self.force else tuple(c for c in self.changes if c.overwrites)


@dataclass(frozen=True)
class _Place:
    """Where the Alembic files are or will be."""

    ini: Path
    scripts: Path
    env: Path
    setup: AlembicSetup | None


def make_plan(project: Project, templates: Mapping[str, str], options: Options) -> Plan:
    """Decide what to write. Raises SetupError where a person has to decide first."""
    url, notes = choose_url(project)
    dotenv, more = reads_dotenv(project, url)
    notes += more
    modules = project.model_modules
    changes: list[FileChange] = []
    try:
        if options.scaffold is not None:
            scaffold = plan_scaffold(
                project, options.scaffold, url, templates, force=options.force, dotenv=dotenv
            )
            changes += scaffold.changes
            notes += scaffold.notes
            project = scaffold.project
            modules = tuple(sorted({*modules, scaffold.models_module}))
        if project.base is None and project.alembic and project.alembic[0].tables:
            setup = project.alembic[0]
            env_py = relative(setup.env, project.root)
            note = (
                f"the base is no class of this project: {env_py} is left as it is; the tables "
                f"that it hands to Alembic count ({setup.tables})"
            )
            return Plan((), (*notes, note), setup.ini, url, modules, options.force)
        if project.base is None and options.dry_run:
            return nothing_yet(project, url, notes)
        if project.base is None:
            raise SetupError(
                "no-models",
                Exit.EMPTY_METADATA,
                f"no declarative base, SQLModel or MetaData in {project.root}",
                "--scaffold PACKAGE (such as app.db) makes a database layer; "
                "--base MODULE:NAME names one that was not recognised",
            )
        place = _place(project)
        line, more = choose_dialects(project, options.dialects, changes)
        normalizer = f"{options.scaffold}.database_url" if options.scaffold else ""
        said = bool(options.dialects)
        wanted = Wanted(modules, url, options.explicit, dotenv, line, said, normalizer)
        notes += more
        env = plan_env(
            place.env, templates["env.py"], project, wanted, place.setup, force=options.force
        )
    except BlockError as error:
        raise SetupError("url-from", Exit.USAGE, str(error), "see --url-from") from None
    mako = place.scripts / "script.py.mako"
    if read_text(mako) is None:
        changes.append(FileChange(mako, None, templates["script.py.mako"], "form of a revision"))
    changes.append(env.change)
    changes.append(_ini(project, place, templates["alembic.ini"], env.change.after))
    notes += env.notes
    notes += _remarks(project, place, modules)
    if place.setup is not None and env.change.overwrites and not options.force:
        missing, by_rule = missing_modules(env.change.before or "", project, modules, place.setup)
        if missing and (place.setup.imports_asked or not by_rule):
            notes.append(
                f"{relative(place.env, project.root)} does not import {', '.join(missing)}: "
                "an autogenerated migration would drop their tables"
            )
    kept = real_changes(changes)
    return Plan(tuple(kept), tuple(notes), place.ini, url, modules, options.force, env.lost)


def nothing_yet(project: Project, url: UrlSource, notes: list[str]) -> Plan:
    """A look at a project that has no database layer is no refusal (#16)."""
    package = (project.app or "").partition(":")[0].rpartition(".")[0]
    note = (
        "there is no declarative base, SQLModel or MetaData: --scaffold PACKAGE makes a database"
        " layer, --base MODULE:NAME names one that was not recognised"
    )
    layer = f"{package}.db" if package else "db"
    ini = project.root / "alembic.ini"
    return Plan((), (*notes, note), ini, url, (), force=False, layer=layer)


def choose_url(project: Project) -> tuple[UrlSource, list[str]]:
    """The first source that can be written into env.py, which no literal is."""
    for source in project.urls:
        if source.kind in ("settings", "environment"):
            return source, []
    name = DEFAULT_URL.reference.removeprefix("env:")
    if not project.urls:
        text = f"nothing in the project says where its database URL is; {name} is used"
        return DEFAULT_URL, [f"{text} (--url-from names another source)"]
    literal = project.urls[0]
    where = f"{relative(literal.path, project.root)}:{literal.line}" if literal.path else "the code"
    return DEFAULT_URL, [
        f"the database URL is written out in {where}; migrations read it from {name}: let the "
        "application do so too (--url-from names another source)"
    ]


def choose_dialects(
    project: Project, given: tuple[Kind, ...], changes: Sequence[FileChange]
) -> tuple[str, list[str]]:
    """The line of DIALECTS in env.py, and what to say of a guess of several (#13)."""
    texts = {change.path: change.after for change in changes}
    text = texts.get(project.dependency_file) if project.dependency_file else None
    setup = project.alembic[0] if project.alembic else None
    connected = kind_of(project.scheme) if project.scheme else None
    found = databases_of(project, setup, connected, given, text)
    if not found.guessed:
        return (setting(given) if given else ""), []
    if len(found.kinds) < 2:
        file = project.dependency_file
        told = bool(guess(project, text)) and file is not None
        return (setting(found.kinds, file.name) if told and file else ""), []
    file_name = project.dependency_file.name if project.dependency_file else "the source"
    return setting(found.kinds, file_name), [
        f"revisions are written for {titles(found.kinds)}, whose drivers {file_name} lists"
        " (--dialects says which are meant)"
    ]


def reads_dotenv(project: Project, url: UrlSource) -> tuple[bool, list[str]]:
    """Is the variable in a `.env` that python-dotenv can load; a note where nothing can (#13)."""
    kind, _, name = url.reference.partition(":")
    files = dict.fromkeys([project.root / ".env", project.import_root / ".env"])
    line = re.compile(rf"(?m)^\s*(?:export\s+)?{re.escape(name)}\s*=")
    found = [path for path in files if path.is_file() and line.search(read_text(path) or "")]
    if kind != "env" or not found:
        return False, []
    if project.versions.get("python-dotenv"):  # pydantic-settings brings it along
        return True, []
    where = relative(found[0], project.root)
    return False, [
        f"{where} has {name}, and nothing here reads it: install python-dotenv (or"
        f" pydantic-settings) and run this again, or set {name} where alembic and the"
        " application start"
    ]


def _place(project: Project) -> _Place:
    if project.alembic:
        setup = project.alembic[0]
        return _Place(setup.ini, setup.script_location, setup.env, setup)
    ini = project.root / "alembic.ini"
    for name in ("alembic", "migrations"):
        scripts = project.root / name
        env = scripts / "env.py"
        if env.is_file():  # an environment that lost its ini
            text = read_text(env) or ""
            setup = AlembicSetup(
                ini, scripts, env, (scripts / "versions",), "async" in text, started_in=project.root
            )
            return _Place(ini, scripts, env, setup)
    # A package of that name would hide the library from everybody in this folder.
    name = "migrations" if (project.root / "alembic").exists() else "alembic"
    scripts = project.root / name
    return _Place(ini, scripts, scripts / "env.py", None)


def _ini(project: Project, place: _Place, template: str, env_text: str) -> FileChange:
    before = read_text(place.ini)
    rendered = render_ini(template, place.ini, place.scripts, project.import_root)
    if before is None:
        return FileChange(place.ini, None, rendered, "Alembic's settings, without a URL")
    section = place.setup.section if place.setup else "alembic"
    if place.ini.suffix == ".toml":
        return FileChange(place.ini, before, before, "")
    # What it leaves out may stand in pyproject.toml: what was found counts, not its text (#12).
    if not project.alembic:
        return FileChange(place.ini, before, rendered, "has no [alembic] section", True, True)
    if "sys.path" in env_text:
        return FileChange(place.ini, before, before, "")
    after = with_import_root(before, place.ini, project.import_root, section)
    reason = "alembic finds the project without PYTHONPATH"
    return FileChange(place.ini, before, after, reason, True)


def has_revisions(setup: AlembicSetup) -> bool:
    return any(any(folder.glob("**/*.py")) for folder in setup.versions)


def _remarks(project: Project, place: _Place, modules: tuple[str, ...]) -> list[str]:
    notes = [*project.notes, *project.passed_over]
    notes += [f"not read, since it cannot be: {line}" for line in project.unreadable]
    section = place.setup.name_option if place.setup else []

    def alembic(words: str) -> str:
        return command(["alembic", *section, *words.split()])

    for spot in project.create_all:
        path, _, line = spot.rpartition(":")
        where = f"{relative(Path(path), project.root)}:{line}"
        notes.append(
            f"{where} creates tables with metadata.create_all: where the application or a "
            f"deployment does this, remove it; from now on `{alembic('upgrade head')}` does"
        )
    begun = place.setup is not None and has_revisions(place.setup)
    if project.create_all and not begun:
        notes.append(STAMP.format(alembic("stamp head")))
    text = read_text(place.ini)
    if text is not None and place.ini.suffix == ".ini":
        notes += [
            f"{relative(place.ini, project.root)} runs {tool} on each new revision, and {tool} is "
            "not installed: install it or remove the hook"
            for tool in missing_hooks(text)
        ]
    if not modules:
        notes.append(
            f"no models yet: write them on {project.base.reference if project.base else ''}"
        )
    return notes


STAMP = (
    "a database that has these tables already must not run the first migration: generate it, "
    "then run `{}` on that database once (nothing in it is changed or dropped)"
)
