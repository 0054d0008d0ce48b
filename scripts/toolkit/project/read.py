"""Read a project: everything that can be told from its source."""

import ast
import os
from collections.abc import Sequence
from pathlib import Path

from toolkit.files.memory import Memory
from toolkit.files.reading import may_have_tables, names_tables
from toolkit.project.application import find_application
from toolkit.project.asynchrony import is_synchronous
from toolkit.project.dependencies import installed_versions
from toolkit.project.errors import ambiguous, bad_option, unreadable_models
from toolkit.project.existing_alembic import find_alembic
from toolkit.project.facts import MappedClass, Problem, Project, UrlSource
from toolkit.project.imports import Module, Resolver, module_name, parses, read
from toolkit.project.looks import ABOUT, create_all, secrets
from toolkit.project.mapped import find_mapped, find_unowned
from toolkit.project.meant import library_bases, metadata_of_env
from toolkit.project.metadata import MetadataIndex
from toolkit.project.passwords import learn_passwords
from toolkit.project.root import Location, locate, read_text, remembered_servers
from toolkit.project.settings import find_settings
from toolkit.project.url import UrlFacts, chosen_url, find_urls


def read_project(
    directory: Path,
    *,
    base: str | None = None,
    app: str | None = None,
    url_from: str | None = None,
    ini: str | None = None,
    name: str | None = None,
    scratch_on: str | None = None,
    one_alembic: bool = True,
    name_broken: bool = True,
) -> Project:
    """Read the FastAPI project in `directory`, importing none of it.

    `base`, `app`, `url_from`, `ini`, `name` and `scratch_on` are the values of the flags of
    the same names; without `one_alembic`, several set-ups are no reason to stop; without
    `name_broken`, a file that does not parse is named only where it had to be read. Raises
    ProjectError when there is no project, when there are several, or several set-ups (the
    error names the flag). Several bases and applications are no error: see `undecided`.
    """
    location = locate(directory)
    hidden: dict[Path, str] = {}
    modules, unreadable = _read_all(location, hidden)
    own = [location.root, location.import_root, directory.resolve()]
    resolver = Resolver(modules)
    learn_passwords(own, resolver.having(secrets))
    wanted = _qualified_base(base, resolver)
    alembic = find_alembic(location, resolver, ini, name, one=one_alembic)
    index = MetadataIndex(resolver, wanted, library_bases(resolver, alembic.modules))
    unreadable += _broken(location, modules, hidden, everywhere=name_broken)
    mapped = find_mapped(index)
    meant = _Meant(index, mapped)
    if wanted is not None:
        meant.take(base or "", wanted)
    else:
        meant.weigh([name for env in alembic.modules for name in metadata_of_env(index, env)])
    application = find_application(index, app, location)
    settings = find_settings(index)
    folders = dict.fromkeys([location.root, location.import_root, directory.resolve()])
    urls = find_urls(resolver, settings, alembic.modules, folders)
    return Project(
        root=location.root,
        import_root=location.import_root,
        package_manager=location.package_manager,
        dependency_file=location.dependency_file,
        app=application.reference,
        metadata=tuple(meant.sources),
        meant=tuple(meant.references),
        mapped=mapped,
        urls=_with_choice(urls, url_from),
        alembic=alembic.setups,
        create_all=_create_all(resolver),
        unreadable=(*unreadable, *alembic.unreadable),
        other_roots=location.other_roots,
        files=location.files.python,
        hidden=tuple(hidden),
        versions=installed_versions(),
        settings=settings,
        app_is_factory=application.is_factory,
        schemes=urls.schemes,
        scheme=urls.scheme,
        # As every other file of the project is named (#12).
        notes=tuple(
            note.removeprefix(f"{location.root}{os.sep}")
            for note in (*urls.notes, *_unowned(index, mapped))
        ),
        scratch_on=scratch_on,
        scratch_remembered=remembered_servers(location.root),
        passed_over=_passed_over(location),
        is_sync=is_synchronous(resolver),
        choices={
            "project": location.choices,
            "alembic": alembic.choices,
            "base": tuple(meant.choices),
        },
        undecided={
            name: problem
            for name, problem in (
                ("base", meant.problem),
                ("app", application.problem),
                ("alembic", alembic.problem),
                ("models", unreadable_models(list(hidden.values())).problem if hidden else None),
            )
            if problem is not None
        },
    )


def _read_all(location: Location, hidden: dict[Path, str]) -> tuple[dict[str, Module], list[str]]:
    """The modules, and a line for each that cannot be read; those that may have models are added
    to `hidden`.
    """
    modules: dict[str, Module] = {}
    broken: list[str] = []
    roots = (location.import_root, *location.other_roots)
    for path in location.files.python:
        name = module_name(path, roots, location.root)
        if name is None or _is_env(path):
            continue
        try:
            modules.setdefault(name, read(path, name))
        except FileNotFoundError:  # a pipe or a folder of that name: no module for Python either
            continue
        except SyntaxError as error:
            broken.append(_line(location, path, error))
            if may_have_tables(path):
                hidden[path] = broken[-1]
    return modules, broken


def _broken(
    location: Location, modules: dict[str, Module], hidden: dict[Path, str], *, everywhere: bool
) -> list[str]:
    """Those that do not parse, as above: of what was looked at, or of all about databases."""
    if everywhere:
        memory = Memory(location.root)
        for module in modules.values():
            about = ABOUT.search(module.text) is not None and not memory.has(module.path)
            if (about or module.is_parsed) and parses(module):
                memory.add(module.path)
        memory.keep()
    broken = [module for module in modules.values() if module.error]
    lines = [_line(location, one.path, one.error) for one in broken if one.error]
    for one, line in zip(broken, lines, strict=True):
        if names_tables(one.text):
            hidden[one.path] = line
    return lines


def _line(location: Location, path: Path, error: SyntaxError) -> str:
    return f"{path.relative_to(location.root)}:{error.lineno or 0} {error.msg}"


def _passed_over(location: Location) -> tuple[str, ...]:
    return tuple(
        f"{folder.relative_to(location.root)} is passed over: you may not look into it"
        for folder in location.files.passed_over
    )


def _is_env(path: Path) -> bool:
    return path.name == "env.py" and "alembic" in read_text(path)


def _qualified_base(base: str | None, resolver: Resolver) -> str | None:
    if base is None:
        return None
    module, _, name = base.partition(":")
    if not module or not name.isidentifier():
        raise bad_option("--base", f"{base} is not MODULE:NAME", "for example app.db:Base")
    if module in resolver.modules:
        return resolver.qualify(resolver.modules[module], name)
    return f"{module}.{name}"


class _Meant:
    """Which of the metadatas are to be migrated."""

    def __init__(self, index: MetadataIndex, mapped: tuple[MappedClass, ...]) -> None:
        self.index = index
        self.mapped = mapped
        self.owning = {item.metadata for item in mapped}
        self.sources = index.canonical()
        self.references: list[str] = []
        self.choices: list[str] = []
        self.problem: Problem | None = None
        self._sort(())

    def take(self, base: str, wanted: str) -> None:
        """The one that --base names."""
        chosen = self.index.owner(wanted)
        if chosen is None:
            names = ", ".join(source.reference for source in self.sources) or "none"
            raise bad_option("--base", f"{base} is no declarative base", f"found: {names}")
        self._sort([self.index.sources[chosen].reference])

    def weigh(self, in_env: Sequence[str]) -> None:
        """Those that env.py hands over, if they own anything; else the only one that does."""
        rivals = [one.reference for one in self.sources if one.reference in self.owning]
        used = [reference for reference in in_env if reference in self.owning or not rivals]
        if used:
            self._sort(in_env)
            others = [reference for reference in rivals if reference not in in_env]
            if others:
                names = ", ".join(map(self._described, others))
                given = ", ".join(in_env)
                words = f"env.py gives Alembic {given}, and not {names} (--base names another)"
                self.choices.append(words)
            return
        rivals = rivals or [one.reference for one in self.sources]
        self.references = rivals
        if len(rivals) > 1:
            described = list(map(self._described, rivals))
            refusal = ambiguous(
                "several-bases", "several metadatas", described, "--base MODULE:NAME"
            )
            self.problem = refusal.problem

    def _sort(self, first: Sequence[str]) -> None:
        """`first` before all, those that own classes before the rest."""
        self.references = list(first)
        self.sources.sort(
            key=lambda one: (
                one.reference not in first,
                one.reference not in self.owning,
                one.kind == "core",
                one.reference,
            )
        )

    def _described(self, reference: str) -> str:
        count = sum(item.metadata == reference for item in self.mapped)
        return f"{reference} ({count} mapped {'class' if count == 1 else 'classes'})"


def _unowned(index: MetadataIndex, mapped: tuple[MappedClass, ...]) -> list[str]:
    return [
        f"{place} has a __tablename__ but its base is not recognised; name that with --base"
        for place in find_unowned(index, mapped)
    ]


def _with_choice(urls: UrlFacts, url_from: str | None) -> tuple[UrlSource, ...]:
    if url_from is None:
        return urls.sources
    chosen = chosen_url(url_from)
    return (chosen, *(s for s in urls.sources if s.reference != chosen.reference))


def _create_all(resolver: Resolver) -> tuple[str, ...]:
    found = {
        (str(module.path), node.lineno)
        for module in resolver.having(create_all)
        for node in module.nodes
        if isinstance(node, ast.Attribute) and node.attr == "create_all"
    }
    return tuple(f"{path}:{line}" for path, line in sorted(found))
