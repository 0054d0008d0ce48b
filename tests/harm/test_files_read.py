"""A file that is hard to read does not make its table disappear (#11)."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harm.other_user import as_another, needs_root, shared
from projects.layouts import LAYOUTS
from toolkit.project import ProjectError, read_project
from toolkit.project.errors import require_decided
from toolkit.report.exits import Exit
from toolkit.setup.apply import Transaction
from toolkit.setup.changes import FileChange, read_text
from toolkit.setup.errors import SetupError

__all__ = ["shared"]
pytestmark = pytest.mark.any_sqlalchemy
HANG = 60
MODEL = """\
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Payment(Base):
    __tablename__ = "payments"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
# More than fits into `usual_depth`.
DEEP = "x = " + "(" * 3 + "+".join(["1"] * 4000) + ")" * 3 + "\n"


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A pipe that is opened waits for ever."""
    signal.alarm(HANG)
    yield
    signal.alarm(0)


@pytest.fixture
def usual_depth() -> Iterator[None]:
    """Libraries that other tests use (sqlglot) raise it for good (#10)."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project; `app/payment.py` is where the tests put their file."""
    return LAYOUTS["app"](tmp_path / "project").root


def tables(root: Path) -> set[str | None]:
    project = read_project(root)
    require_decided(project, "models")
    return {item.table for item in project.models}


@pytest.mark.parametrize(
    "content",
    [
        b"# -*- coding: latin-1 -*-\nNAME = 'Zahlungsempf\xe4nger'\n" + MODEL.encode(),
        b"\xef\xbb\xbf" + MODEL.encode(),
        b"# coding: cp1251\nNAME = '\xcf\xeb\xe0\xf2\xb8\xe6'\n" + MODEL.encode(),
        MODEL.replace("\n", "\r\n").encode(),
        MODEL.encode() + b"DATA = '" + b"x" * 3_000_000 + b"'\n",
        MODEL.encode() + ("x = " + "+".join(["1"] * 500) + "\n").encode(),
    ],
    ids=["latin-1", "byte order mark", "cp1251", "line ends", "3 MB", "500 terms"],
)
def test_a_model_is_seen_whatever_its_file_is_like(root: Path, content: bytes) -> None:
    (root / "app" / "payment.py").write_bytes(content)
    assert "payments" in tables(root)


@pytest.mark.usefixtures("usual_depth")
@pytest.mark.parametrize(
    "content",
    [
        MODEL.encode() + DEEP.encode(),
        MODEL.encode() + b"x = " + b"(" * 300 + b")" * 300 + b"\n",
        MODEL.encode() + b"NAME = '\xe4'\n",
        b"# coding: no-such\n" + MODEL.encode(),
        b"# coding: hex\n" + MODEL.encode(),
        MODEL.encode("utf-16"),
        MODEL.encode() + b"\0",
        MODEL.encode() + b"#" * 33_000_000,
    ],
    ids=["deep", "brackets", "not UTF-8", "unknown encoding", "no text", "UTF-16", "zero", "33 MB"],
)
def test_a_model_that_cannot_be_read_stops_the_run_with_its_name(
    root: Path, content: bytes
) -> None:
    (root / "app" / "payment.py").write_bytes(content)
    with pytest.raises(ProjectError) as raised:
        tables(root)
    assert "app/payment.py:" in raised.value.problem.message
    assert raised.value.problem.exit_code == Exit.BROKEN_PROJECT


@pytest.mark.usefixtures("usual_depth")
@pytest.mark.parametrize(
    "content", [DEEP.encode(), b"NAME = '\xe4'\n", b"def (:\n"], ids=["deep", "not UTF-8", "syntax"]
)
def test_a_broken_file_without_tables_stops_nothing_and_is_told(root: Path, content: bytes) -> None:
    # About a database, and so read: what is about nothing of ours is not even parsed.
    (root / "app" / "constants.py").write_bytes(b"import sqlalchemy\n" + content)
    project = read_project(root)
    assert any(line.startswith("app/constants.py:") for line in project.unreadable)


def test_pipes_devices_and_endless_files_are_not_opened(root: Path) -> None:
    expected = tables(root)
    os.mkfifo(root / "app" / "pipe.py")
    os.mkfifo(root / "alembic.ini")
    os.mkfifo(root / ".env")
    (root / "app" / "endless.py").symlink_to("/dev/zero")
    (root / "endless.ini").symlink_to("/dev/zero")
    (root / "app" / "folder.py").mkdir()
    (root / "app" / "nowhere.py").symlink_to("not there")
    assert tables(root) == expected
    with pytest.raises(SetupError, match="no regular file"):
        read_text(root / "alembic.ini")
    (root / "file").write_text("")
    assert read_text(root / "file" / "env.py") is None


@needs_root
def test_a_folder_that_may_not_be_looked_into_is_passed_over_with_a_line(shared: Path) -> None:
    root = LAYOUTS["app"](shared / "project").root
    data = root / "pgdata"
    data.mkdir(mode=0o700)
    (data / "PG_VERSION").write_text("18")
    read_project(root)  # as below: what it takes of the library is loaded now
    project = as_another(lambda: read_project(root))
    assert project.passed_over == ("pgdata is passed over: you may not look into it",)
    assert {item.table for item in project.models} == {
        item.table for item in read_project(root).models
    }


@needs_root
def test_a_source_that_may_not_be_read_stops_the_run_with_its_name(shared: Path) -> None:
    root = LAYOUTS["app"](shared / "project").root
    (root / "app" / "payment.py").write_text("secret = 1\n")
    tables(root)  # another user may not read the library: what it takes of that is loaded now
    (root / "app" / "payment.py").chmod(0o600)

    def refused() -> str:
        with pytest.raises(ProjectError) as raised:
            tables(root)
        return raised.value.problem.message

    assert "app/payment.py:0 it cannot be read (Permission denied)" in as_another(refused)


def test_requirements_as_powershell_writes_them_are_read(root: Path) -> None:
    for name in ("pyproject.toml", "uv.lock"):
        (root / name).unlink(missing_ok=True)
    (root / "requirements.txt").write_text("fastapi\nsqlalchemy[asyncio]\n", encoding="utf-16")
    project = read_project(root)
    from toolkit.project.dependencies import declared_names

    assert {"fastapi", "sqlalchemy"} <= declared_names(project.dependency_file)


def test_a_changed_file_keeps_its_encoding(tmp_path: Path) -> None:
    file = tmp_path / "env.py"
    file.write_bytes(b"# coding: latin-1\r\nNAME = '\xe4'\r\n")
    before = read_text(file)
    assert before is not None
    change = FileChange(file, before, before + "import x\r\n", "changed")
    with Transaction(tmp_path, [change]) as writing:
        writing.commit()
    assert file.read_bytes() == b"# coding: latin-1\r\nNAME = '\xe4'\r\nimport x\r\n"
