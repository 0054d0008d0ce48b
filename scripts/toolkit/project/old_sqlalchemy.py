"""A SQLAlchemy before 2.0: said in one line, before anything of it is imported (#12)."""

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

from toolkit.files.reading import text_of
from toolkit.project.errors import ProjectError
from toolkit.project.facts import Problem
from toolkit.report.exits import Exit

NEEDED = "2.0.58"
_FILES: tuple[str, ...] = ("pyproject.toml", "requirements*.txt", "requirements/*.txt")
_FILES += ("requirements*.in", "requirements/*.in", "constraints*.txt", "environment*.y*ml")
_FILES += ("Pipfile", "setup.cfg", "setup.py")
_PIN = re.compile(
    r"""^(?!\s*\#).*?(?<![\w.-])(sqlalchemy(?:\[[^\]]*\])?["']?\s*"""
    r"""(?:=\s*["'{]|[<>=~!^]|\(\s*[<>=~!^]).*?)\s*,?\s*(?:\#.*)?$""",
    re.IGNORECASE,
)
_OLD = re.compile(
    r"^sqlalchemy\b[^;]*(?:<\s*=?\s*(?:1\b|2(?:\.0+)*(?![.\d]))|[=~]=\s*1\b)", re.IGNORECASE
)


def require_new_sqlalchemy(directory: Path) -> None:
    """Raise ProjectError where the SQLAlchemy of this environment is too old; None is no matter."""
    try:
        version = importlib.metadata.version("sqlalchemy")
    except importlib.metadata.PackageNotFoundError:
        return
    if not re.match(r"[01]\.", version):
        return
    pin = next(_pins(directory.resolve()), None) or next(_pinning_packages(), None)
    where = f"; pinned in {pin}" if pin else "; nothing here pins it"
    raise ProjectError(
        Problem(
            code="old-sqlalchemy",
            message=f"SQLAlchemy {version} is installed, {NEEDED} or newer is needed{where}",
            remedy=f"raise it to 'sqlalchemy>={NEEDED}', and what is written for 1.x with it: "
            "https://docs.sqlalchemy.org/en/20/changelog/migration_20.html",
            exit_code=Exit.MISSING_DEPENDENCY,
        )
    )


def _pins(directory: Path) -> Iterator[str]:
    """`file:line text` of what asks for a version, from `directory` upwards in its repository."""
    for folder in (directory, *directory.parents):
        for path in [path for form in _FILES for path in sorted(folder.glob(form))]:
            for number, line in enumerate(text_of(path).splitlines(), start=1):
                if found := _PIN.match(line):
                    name = path.relative_to(directory) if folder == directory else path
                    yield f"{name}:{number} {found[1].strip(' ,')}"
        if (folder / ".git").exists():
            break


def _pinning_packages() -> Iterator[str]:
    for distribution in importlib.metadata.distributions():
        for requirement in distribution.requires or ():
            if _OLD.match(requirement) and "extra ==" not in requirement:
                yield f"{distribution.name} {distribution.version}, which asks for {requirement}"
