"""Importing a project elsewhere: time limit, silence, and no secrets in what comes back."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projects import warm
from projects.layouts import Layout, write
from toolkit.fence import process
from toolkit.project import read_project
from toolkit.project.prove import import_models

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"
MODEL = """\
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
"""


COLD = sys.executable


@pytest.fixture(autouse=True)
def warm_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """What imports the project has SQLAlchemy already, in a process of its own all the same."""
    monkeypatch.setattr(sys, "executable", warm.python())


def project_with(root: Path, files: dict[str, str]) -> Path:
    write(root, {"requirements.txt": "", "main.py": MAIN, "models.py": MODEL, **files})
    return root


def test_failure_has_its_place_and_no_password(
    project_factory: Callable[[str], Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite+aiosqlite://")
    project = read_project(project_factory("failing_import").directory)
    report = import_models(project, project.model_modules)
    assert not report.ok
    (failure,) = report.errors
    assert (failure.module, failure.type, failure.line) == ("app.models.note", "RuntimeError", 14)
    assert failure.path is not None
    assert failure.path.endswith("app/models/note.py")
    assert "app:***@db.internal" in failure.message
    assert "hunter2" not in repr(report)


@pytest.mark.parametrize(
    "raised",
    [
        "os.environ['APP_SECRET']",
        "'dsn is ' + os.environ['DATABASE_URL']",
        "'bad password ' + 'p@ss:w/rd'",
        "'value of the file: from-env-file'",
        "'postgresql://u:p@ss:w/rd@h/x failed'",
        "'connect(password=tr0ub4dor, user=u)'",
    ],
)
@pytest.mark.any_sqlalchemy
def test_secrets_are_masked(tmp_path: Path, raised: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_SECRET", "opensesame")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p%40ss%3Aw%2Frd@h/x")
    project_with(
        tmp_path,
        {"bad.py": f"import os\nraise ValueError({raised})\n", ".env": "API_KEY='from-env-file'\n"},
    )
    report = import_models(read_project(tmp_path), ["bad"])
    assert report.errors[0].type == "ValueError"
    text = repr(report)
    assert "***" in text
    for secret in ("opensesame", "tr0ub4dor", "p@ss", "p%40ss", "from-env-file"):
        assert secret not in text


def test_pydantic_does_not_repeat_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBER", "hunter2secret")
    source = (
        "from pydantic_settings import BaseSettings\n\n\nclass S(BaseSettings):\n    number: int\n"
    )
    project_with(tmp_path, {"bad.py": source + "\n\nS()\n"})
    report = import_models(read_project(tmp_path), ["bad"])
    assert report.errors[0].type == "ValidationError"
    assert "hunter2" not in repr(report)


def test_output_of_the_project_goes_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = "import os, sys\nprint('out')\nprint('err', file=sys.stderr)\nos.write(1, b'raw')\n"
    project_with(tmp_path, {"models.py": noise + MODEL})
    report = import_models(read_project(tmp_path), ["models"])
    assert report.tables == {"models:Base": ("items",)}
    assert capfd.readouterr() == ("", "")


@pytest.mark.any_sqlalchemy
def test_time_limit(tmp_path: Path) -> None:
    project_with(tmp_path, {"slow.py": "import time\ntime.sleep(600)\n"})
    report = import_models(read_project(tmp_path), ["slow"], timeout=1.0)
    assert report.timed_out
    assert not report.ok
    assert "1 s" in report.errors[0].message


@pytest.mark.any_sqlalchemy
def test_time_limit_kills_children_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit has passed when the child is there, however long that took."""
    # A folder is what a module may make in its project; it may start no program, but fork.
    source = (
        "import os, time\n"
        "child = os.fork()\n"
        "if child:\n"
        f"    os.mkdir({str(tmp_path)!r} + f'/child-{{child}}')\n"
        "time.sleep(600)\n"
    )
    project_with(tmp_path, {"slow.py": source})

    class Limited(subprocess.Popen[str]):
        def communicate(self, input: str | None = None, timeout: float | None = None) -> Any:
            if timeout is None:
                return super().communicate()
            assert self.stdin is not None
            self.stdin.write(input or "")
            self.stdin.close()
            self.stdin = None
            until(lambda: any(tmp_path.glob("child-*")))
            raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(sys, "executable", COLD)  # the children of a stand-in are another's
    monkeypatch.setattr(process.subprocess, "Popen", Limited)
    report = import_models(read_project(tmp_path), ["slow"])
    assert report.timed_out
    (folder,) = tmp_path.glob("child-*")
    pid = int(folder.name.removeprefix("child-"))
    try:
        until(lambda: not is_running(pid))
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end, "it never was"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    # A killed child whose new parent has not collected it yet is dead as well.
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_threads_do_not_keep_it_waiting(tmp_path: Path) -> None:
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()\n"
    project_with(tmp_path, {"models.py": source + MODEL})
    assert import_models(read_project(tmp_path), ["models"], timeout=300).ok


@pytest.mark.parametrize(
    ("source", "kind", "line"),
    [
        ("import sys\nsys.exit(3)\n", "SystemExit", 2),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError", 1),
        ("x = 1\ndef f(:\n", "SyntaxError", 2),
    ],
)
def test_every_way_to_fail(tmp_path: Path, source: str, kind: str, line: int) -> None:
    project_with(tmp_path, {"bad.py": source})
    report = import_models(read_project(tmp_path), ["bad", "models"])
    (failure,) = report.errors
    assert (failure.type, failure.line) == (kind, line)
    assert failure.path == str(tmp_path / "bad.py")
    assert report.tables == {"models:Base": ("items",)}


def test_process_that_vanishes(tmp_path: Path) -> None:
    project_with(tmp_path, {"bad.py": "import os\nos._exit(7)\n"})
    report = import_models(read_project(tmp_path), ["bad"])
    assert report.errors[0].type == "ProcessExit"
    assert "7" in report.errors[0].message


def test_one_cause_is_said_once(tmp_path: Path) -> None:
    project_with(
        tmp_path,
        {"cause.py": "raise ValueError\n", "a.py": "import cause\n", "b.py": "import cause\n"},
    )
    report = import_models(read_project(tmp_path), ["a", "b"])
    assert [failure.module for failure in report.errors] == ["a"]


def test_unresolved_relationship_is_told(tmp_path: Path) -> None:
    source = MODEL.replace("mapped_column\n", "mapped_column, relationship\n", 1)
    source += '    others: Mapped[list["Other"]] = relationship()\n'
    project_with(tmp_path, {"models.py": source})
    report = import_models(read_project(tmp_path), ["models"])
    assert not report.ok
    assert report.mapper_error is not None
    assert "Other" in report.mapper_error


def test_computed_table_name_is_registered_by_its_class(tmp_path: Path) -> None:
    source = MODEL.replace('__tablename__ = "items"', "__tablename__ = '_'.join(['my', 'items'])")
    project_with(tmp_path, {"models.py": source})
    project = read_project(tmp_path)
    assert [item.table for item in project.models] == [None]
    report = import_models(project, ["models"])
    assert report.classes == {"models:Item": "my_items"}


def test_project_sees_nothing_of_this_toolkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = Path(process.__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(scripts), str(tmp_path / "kept")]))
    source = (
        f"import sys\nassert {str(tmp_path / 'kept')!r} in sys.path\n"
        f"assert not [p for p in sys.path if p.startswith({str(scripts)!r})], sys.path\n"
        "try:\n    import toolkit\nexcept ModuleNotFoundError:\n    pass\n"
        "else:\n    raise AssertionError(toolkit)\n"
    )
    project_with(tmp_path, {"models.py": source + MODEL})
    report = import_models(read_project(tmp_path), ["models"])
    assert report.ok, report.errors


def test_nothing_is_left_in_the_project(tmp_path: Path) -> None:
    project_with(tmp_path, {})
    before = sorted(tmp_path.rglob("*"))
    assert import_models(read_project(tmp_path), ["models"]).ok
    assert sorted(tmp_path.rglob("*")) == before


def test_schema_qualified_table_is_registered(tmp_path: Path) -> None:
    source = MODEL + '    __table_args__ = {"schema": "shop"}\n'
    project_with(tmp_path, {"models.py": source})
    project = read_project(tmp_path)
    report = import_models(project, ["models"])
    assert report.tables == {"models:Base": ("shop.items",)}
    assert report.classes == {"models:Item": "shop.items"}
