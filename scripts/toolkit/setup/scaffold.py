"""A database layer for a project that has none: the templates, placed and connected."""

import ast
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.project.facts import MetadataSource, Project, UrlSource
from toolkit.project.reach import module_file
from toolkit.report.exits import Exit
from toolkit.setup.application import with_lifespan
from toolkit.setup.changes import FileChange, read_text, relative
from toolkit.setup.dependencies import (
    CannotEditError,
    needed_for_scaffold,
    with_requirements,
)
from toolkit.setup.errors import SetupError
from toolkit.setup.settings_block import LOAD_DOTENV, first_name

MODELS = '''\
"""The tables of this application, one class each. Alembic finds them here.

    from sqlalchemy.orm import Mapped, mapped_column

    from {package}.base_model import BaseModel


    class Customer(BaseModel):
        __tablename__ = "customers"

        name: Mapped[str] = mapped_column(String(200))

In a larger application put them beside the feature that they belong to and run
setup-alembic.sh again: it adds their modules to alembic/env.py.
"""
'''


@dataclass(frozen=True)
class Scaffold:
    """Files to write, lines to say, and the project as it will be."""

    changes: tuple[FileChange, ...]
    notes: tuple[str, ...]
    project: Project
    models_module: str


def plan_scaffold(
    project: Project,
    package: str,
    url: UrlSource,
    templates: Mapping[str, str],
    *,
    force: bool,
    dotenv: bool = False,
) -> Scaffold:
    """Everything that `--scaffold package` writes but Alembic. Raises SetupError."""
    folder = _folder(project, package)
    base = MetadataSource(
        "declarative", f"{package}.base_model", "Base", folder / "base_model.py", 0
    )
    if project.base is not None and project.base.reference != base.reference:
        raise SetupError(
            "has-database-layer",
            Exit.USAGE,
            f"this project has a database layer already ({project.base.reference})",
            "leave --scaffold out: setup-alembic.sh then sets Alembic up for it",
        )
    manager = f"{package}.session_manager"
    sessions = in_package(templates["session_manager.py"])
    if url.reference.startswith(f"{manager}:"):  # this scaffold's own, from an earlier run
        sessions = with_config_of(sessions, read_text(folder / "session_manager.py") or sessions)
    else:
        sessions = connected(sessions, url, dotenv=dotenv)
    files = {
        "__init__.py": '"""The database layer: base classes, sessions and tables."""\n',
        "base_model.py": templates["base_model.py"],
        "database_url.py": templates["database_url.py"],
        "database_engine.py": in_package(templates["database_engine.py"]),
        "session_manager.py": sessions,
        "models.py": MODELS.format(package=package),
    }
    changes = [*_parent_packages(project, folder)]
    notes = []
    for name, text in files.items():
        path = folder / name
        before = read_text(path)
        replaceable = name in templates
        if before is None:
            changes.append(FileChange(path, None, text, f"database layer in {package}"))
        elif before != text and replaceable:
            if force:
                reason = "renewed from the template"
                changes.append(FileChange(path, before, text, reason, True, True))
            else:
                where = relative(path, project.root)
                notes.append(f"{where} differs from the template; it is left as it is")
    for found in (
        _requirements(project),
        _application(project, manager),
        _tests(project, package, templates),
    ):
        changes += found[0]
        notes += found[1]
    if url.kind == "environment" and project.settings and not project.settings[0].url_expressions:
        settings = project.settings[0]
        notes.append(
            f"the settings ({settings.class_name}) name no database URL, so it is read from the "
            f"environment variable {url.reference.removeprefix('env:')}; once they do, pass "
            f"--url-from {settings.reference}.NAME and change database_config() in {manager}"
        )
    future = project
    if project.base is None:
        future = replace(project, metadata=(base,), meant=(base.reference,))
    return Scaffold(tuple(changes), tuple(notes), future, f"{package}.models")


def in_package(template: str) -> str:
    """The template that has its neighbours beside it in a package, as a person would write it."""
    return re.sub(
        r"(?ms)^if __package__:\n(.*?)^else:.*?\n(?=\S|\n)",
        lambda found: re.sub(r" *# type: ignore.*", "", textwrap.dedent(found[1])),
        template,
    )


def connected(template: str, url: UrlSource, *, dotenv: bool = False) -> str:
    """session_manager.py whose `database_config` reads this project's settings."""
    module, _, name = url.reference.partition(":")
    if module == "env":
        body = (
            f'    """The URL is in {name}, every other setting in DATABASE_<NAME>."""\n'
            f"{LOAD_DOTENV if dotenv else ''}"
            f'    return DatabaseConfig.from_env("{name}")\n'
        )
    else:
        body = (
            f'    """The URL is `{name}` of `{module}`; see `from_settings` for all else."""\n'
            f"    from {module} import {first_name(name)}\n\n"
            f"    return DatabaseConfig.from_settings({_owner(name)}, {name})\n"
        )
    lines, place = _config(template)
    lines[place.start + 1 : place.stop] = [body]
    return "".join(lines)


def with_config_of(template: str, before: str) -> str:
    """session_manager.py with the `database_config` of the project's own, if that has one."""
    theirs, kept = _config(before)
    lines, place = _config(template)
    if kept:
        lines[place.start : place.stop] = theirs[kept.start : kept.stop]
    return "".join(lines)


def _config(source: str) -> tuple[list[str], range]:
    """A text's lines, and which of them are `database_config`; none, if it has no such function."""
    lines = source.splitlines(keepends=True)
    for item in ast.parse(source).body:
        if isinstance(item, ast.FunctionDef) and item.name == "database_config":
            return lines, range(item.lineno - 1, item.end_lineno or item.lineno)
    return lines, range(0)


def _owner(expression: str) -> str:
    """What holds the settings beside the URL."""
    tree = ast.parse(expression, mode="eval").body
    return ast.unparse(tree.value) if isinstance(tree, ast.Attribute) else "None"


def _folder(project: Project, package: str) -> Path:
    if not all(part.isidentifier() for part in package.split(".")):
        raise SetupError(
            "package", Exit.USAGE, f"--scaffold {package} is no package name", "for example app.db"
        )
    folder = project.import_root.joinpath(*package.split("."))
    for parent in (folder, *folder.parents):
        if parent == project.import_root:
            break
        if parent.with_suffix(".py").is_file():
            name = relative(parent.with_suffix(".py"), project.root)
            raise SetupError(
                "package",
                Exit.USAGE,
                f"--scaffold {package}: {name} is a module of that name",
                "choose another package, for example app.database",
            )
    return folder


def _parent_packages(project: Project, folder: Path) -> list[FileChange]:
    """`__init__.py` for the folders above that do not exist yet."""
    above = [p for p in folder.parents if project.import_root in p.parents and not p.exists()]
    return [FileChange(path / "__init__.py", None, "", "package") for path in reversed(above)]


def _requirements(project: Project) -> tuple[list[FileChange], list[str]]:
    needed = needed_for_scaffold(project)
    file = project.dependency_file
    if not needed:
        return [], []
    lines = ", ".join(requirement.line for requirement in needed)
    if file is None:
        return [], [f"no dependency file was found; the database layer needs {lines}"]
    before = read_text(file) or ""
    try:
        after = with_requirements(file.name, before, needed)
    except CannotEditError as error:
        return [], [f"add to {file.name} by hand ({error}): {lines}"]
    return [FileChange(file, before, after, f"dependencies: {lines}", True)], []


def _application(project: Project, module: str) -> tuple[list[FileChange], list[str]]:
    by_hand = (
        f"open the database with the application: `from {module} import lifespan`, then "
        "`FastAPI(lifespan=lifespan)`; in a lifespan of your own: "
        "`async with lifespan(app): yield`"
    )
    if project.app is None or project.app_is_factory:
        return [], [by_hand]
    name, _, attribute = project.app.partition(":")
    path = module_file(project.import_roots, name)
    text = read_text(path) if path is not None else None
    if path is None or text is None or re.search(rf"{re.escape(module)}\b", text):
        return [], []
    after = with_lifespan(text, attribute, module)
    if after is None:
        return [], [f"{relative(path, project.root)}: {by_hand}"]
    return [FileChange(path, text, after, "opens the database with the application", True)], []


def _tests(
    project: Project, package: str, templates: Mapping[str, str]
) -> tuple[list[FileChange], list[str]]:
    """tests/conftest.py, where there is neither one nor other tests that it could disturb."""
    template = templates.get("conftest.py")
    folder = project.root / "tests"
    existing = any(
        (project.root / place).exists() for place in ("tests/conftest.py", "conftest.py")
    )
    text = None
    if template is not None and project.app is not None and not project.app_is_factory:
        text = placed_conftest(template, project.app, package)
        root = relative(project.import_root, project.root)
        text = text.replace('pythonpath = ["."]', f'pythonpath = ["{root}"]')
        if read_text(folder / "conftest.py") == text:
            return [], []
    if existing or text is None:
        why = "there is one already" if existing else "it needs one application"
        note = f"tests/conftest.py is not written ({why}): templates/conftest.py has the fixtures"
        return [], [note]
    change = FileChange(folder / "conftest.py", None, text, "fixtures for tests with a database")
    note = "tests/conftest.py needs httpx and pytest-asyncio; its first lines say which setting too"
    return [change], [note]


def placed_conftest(template: str, app: str, package: str) -> str:
    """The template with this project's modules in its imports."""
    module, _, attribute = app.partition(":")
    text = re.sub(
        r"(?m)^from app\.main import app\b",
        f"from {module} import app"
        if attribute == "app"
        else f"from {module} import {attribute} as app",
        template,
    )
    return re.sub(r"(?m)^((?:from|import) )app\.db\b", rf"\g<1>{package}", text)
