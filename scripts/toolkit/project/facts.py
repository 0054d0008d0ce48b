"""The facts about a project, as plain values.

Everything downstream (setup, migration) reads these and nothing else, so that a
verdict can be tested without a project on disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

MetadataKind = Literal["declarative", "dataclass", "declarative_base", "sqlmodel", "core"]
UrlKind = Literal["settings", "environment", "literal", "none"]
PackageManager = Literal["uv", "poetry", "pipenv", "pdm", "pip"]


@dataclass(frozen=True)
class MappedClass:
    """A class (or Core `Table`) in the source that should own a table."""

    name: str
    module: str
    path: Path
    line: int
    table: str | None
    """Table name where the source says it literally; None where it is computed."""
    metadata: str
    """`module:name` of the MetadataSource that it belongs to."""


@dataclass(frozen=True)
class MetadataSource:
    """One place that owns a MetaData: a declarative base, SQLModel, a Core MetaData."""

    kind: MetadataKind
    module: str
    name: str
    path: Path | None
    line: int

    @property
    def reference(self) -> str:
        """`module:name`, as `--base` takes it."""
        return f"{self.module}:{self.name}"

    @property
    def expression(self) -> str:
        """Python expression for the MetaData once `name` is imported."""
        return self.name if self.kind == "core" else f"{self.name}.metadata"


@dataclass(frozen=True)
class UrlSource:
    """Where the database URL comes from; never the URL itself."""

    kind: UrlKind
    reference: str
    """`env:NAME`, `module:expression` (`app.config:settings.database_url`,
    `app.config:get_settings().dsn`), or `literal:path:line`."""
    path: Path | None = None
    line: int = 0
    in_use: bool = field(default=False, compare=False)
    """Does an engine of the project, or env.py, take it? Others are only there."""


@dataclass(frozen=True)
class SettingsObject:
    """An object that holds the application's settings."""

    module: str
    expression: str
    """What to write once its first name is imported: `settings`, `get_settings()`."""
    class_name: str
    """Full name of its class."""
    path: Path
    line: int
    url_expressions: tuple[str, ...] = ()
    """Expressions for a database URL (`settings.database_url`), best first."""

    @property
    def reference(self) -> str:
        """`module:expression`, as `--url-from` takes it."""
        return f"{self.module}:{self.expression}"


@dataclass(frozen=True)
class AlembicSetup:
    """An Alembic environment that is already there."""

    ini: Path
    script_location: Path
    env: Path
    versions: tuple[Path, ...]
    """The folders of its revisions, as far as the ini's text tells; Alembic's answer counts."""
    is_async: bool
    imported_modules: tuple[str, ...] = ()
    """Project modules that env.py imports itself (not what those import in turn)."""
    section: str = "alembic"
    """The ini's section, which `alembic -n` chooses."""
    imports_asked: bool = False
    """Was env.py run to see what it imports by a rule of its own? Then that is among these."""
    works_sync: bool = False
    """Is it synchronous, and seen to connect with a driver that is so, too?"""
    tables: int = 0
    """What it was seen to hand to Alembic, where its base is no class of the project's."""
    started_in: Path = Path()
    """The folder to run Alembic in: relative paths of the ini count from there."""

    @property
    def name_option(self) -> list[str]:
        """What Alembic's command line needs in front of the command."""
        return [] if self.section == "alembic" else ["-n", self.section]


@dataclass(frozen=True)
class Problem:
    """Something that stops work, in one line, with the flag that settles it."""

    code: str
    message: str
    remedy: str
    exit_code: int


@dataclass(frozen=True)
class Project:
    root: Path
    """Folder that holds the dependency file (pyproject.toml, requirements.txt, ...)."""
    import_root: Path
    """Folder that has to be on sys.path for `import app` to work."""
    package_manager: PackageManager
    dependency_file: Path | None
    app: str | None
    """`module:attribute` of the FastAPI application."""
    metadata: tuple[MetadataSource, ...]
    """Metadatas that own at least one mapped class, then unused ones."""
    mapped: tuple[MappedClass, ...]
    urls: tuple[UrlSource, ...]
    """Best candidate first; empty when nothing in the project names a URL."""
    alembic: tuple[AlembicSetup, ...]
    create_all: tuple[str, ...]
    """`path:line` of each `metadata.create_all` outside tests."""
    unreadable: tuple[str, ...] = ()
    """`path:line message` of source files that do not parse."""
    other_roots: tuple[Path, ...] = ()
    """Import roots of other packages of a workspace, which this one imports."""
    files: tuple[Path, ...] = ()
    """Its Python files; of a repository with several services those of one, and what it imports."""
    hidden: tuple[Path, ...] = ()
    """Those of them that may have models."""
    versions: dict[str, str | None] = field(default_factory=dict)
    """Distribution name -> version in the project's interpreter, None if absent:
    sqlalchemy, alembic, greenlet, asyncpg, aiosqlite, aiomysql, asyncmy, psycopg,
    fastapi, sqlmodel."""
    settings: tuple[SettingsObject, ...] = ()
    """Settings objects, those that know a database URL first."""
    app_is_factory: bool = False
    """Is `app` a function that makes the application?"""
    schemes: tuple[str, ...] = ()
    """URL schemes that the source and the `.env` files mention (`postgresql+asyncpg`)."""
    scheme: str | None = None
    """That of the URL in use, where the environment or a `.env` has it."""
    notes: tuple[str, ...] = ()
    """What could not be told from the source, one honest line each."""
    scratch_on: str | None = None
    """The server that --scratch-on allows a proof to run on."""
    scratch_remembered: tuple[str, ...] = ()
    """Those that pyproject.toml allows."""
    passed_over: tuple[str, ...] = ()
    """A line for each folder that this user may not look into."""
    meant: tuple[str, ...] = ()
    """References of the metadatas to migrate: those that env.py hands to Alembic, the one that
    `--base` chose, or the only one."""
    is_sync: bool = False
    """Is the application synchronous throughout?"""
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What was taken where there were others, and why: lines under `project`, `alembic`, `base`."""
    undecided: Mapping[str, Problem] = field(default_factory=dict)
    """What is ambiguous, under `base` and `app`, which `models` cannot be read, and why `alembic`
    cannot be worked with: for those who need to know (#12)."""

    @property
    def import_roots(self) -> tuple[Path, ...]:
        return (self.import_root, *self.other_roots)

    @property
    def base(self) -> MetadataSource | None:
        """The metadata to migrate, or the first of several."""
        return self.metadata[0] if self.metadata else None

    @property
    def bases(self) -> tuple[MetadataSource, ...]:
        """All metadatas to migrate."""
        return tuple(one for one in self.metadata if one.reference in self.meant)

    @property
    def models(self) -> tuple[MappedClass, ...]:
        """The mapped classes of `bases`; while these are not decided, of all that may be meant."""
        return tuple(item for item in self.mapped if item.metadata in self.meant)

    @property
    def model_modules(self) -> tuple[str, ...]:
        """Modules that have to be imported for `bases` to know all their tables, sorted."""
        return tuple(sorted({item.module for item in self.models}))
