"""Modules that harm when they are imported: no import of ours lets them.

The fixture `production` compares before and after each test.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harm.going_round import PROGRAMS, WAYS, project_of, sync_url
from harm.production import Production
from projects import warm
from toolkit.connection.source import evaluate
from toolkit.project.prove import ImportReport, import_models

pytestmark = pytest.mark.older_sqlalchemy_on("postgresql")

CREATE_ALL = """
from sqlalchemy import create_engine

engine = create_engine(%r)
Base.metadata.create_all(bind=engine)
"""


@pytest.fixture(scope="module", autouse=True)
def warm_interpreters() -> Iterator[None]:
    """Started before the fixture `production` has its own TMPDIR."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", warm.python())
        yield


def imported(root: Path, production: Production, models: str, **files: str) -> ImportReport:
    return import_models(project_of(root, production, models=models, **files), ["models"])


@pytest.mark.parametrize("way", [way for way in WAYS if way not in PROGRAMS])
def test_a_module_that_goes_round_sqlalchemy(
    way: str, production: Production, tmp_path: Path
) -> None:
    report = imported(tmp_path / "project", production, WAYS[way])
    (failure,) = report.errors
    assert "wanted to" in failure.message
    assert failure.message.startswith(("raw.py:", "models.py:"))
    assert "\n" not in failure.message


@pytest.mark.any_sqlalchemy
@pytest.mark.dialects("sqlite")
@pytest.mark.parametrize("way", PROGRAMS)
def test_a_module_that_starts_a_program(way: str, production: Production, tmp_path: Path) -> None:
    (failure,) = imported(tmp_path / "project", production, WAYS[way]).errors
    assert failure.message.startswith("models.py:")
    assert "wanted to start" in failure.message


def test_create_all_at_import_makes_nothing_and_is_no_failure(
    production: Production, tmp_path: Path
) -> None:
    """FastAPI's tutorial has it so; whoever followed it is no hostile user."""
    models = CREATE_ALL % sync_url(production)
    report = imported(tmp_path / "project", production, models)
    assert report.ok, report.errors
    assert report.tables == {"models:Base": ("items",)}


def test_who_waits_for_a_database_does_not_wait_for_ever(
    production: Production, tmp_path: Path
) -> None:
    models = (
        "import raw\nwhile True:\n    try:\n        raw.harm_async()\n        break\n"
        "    except Exception:\n        pass\n"
    )
    report = import_models(project_of(tmp_path, production, models=models), ["models"], timeout=60)
    assert report.errors[0].type == "RefusedTooOften"


def test_an_engine_that_is_used_at_import(production: Production, tmp_path: Path) -> None:
    models = (
        "import raw\nfrom sqlalchemy import create_engine, text\n"
        "with create_engine(raw.URL).begin() as connection:\n"
        "    connection.execute(text(raw.HARM))\n"
    )
    report = imported(tmp_path / "project", production, models)
    assert "models.py:" in report.errors[0].message
    assert "wanted to" in report.errors[0].message


def test_a_settings_module_gives_its_url_and_connects_to_nothing(
    production: Production, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What test-connection.sh evaluates: it needs the real address, and only that."""
    monkeypatch.setenv("DATABASE_URL", sync_url(production))
    models = (
        "import os\nfrom sqlalchemy import create_engine\n"
        "engine = create_engine(os.environ['DATABASE_URL'])\n"
        "Base.metadata.create_all(engine)\n"
        "import raw\n"
        "try:\n    raw.harm()\nexcept OSError as error:\n    met = str(error)\n"
    )
    project = project_of(tmp_path / "project", production, models=models)
    found = evaluate(project, ["models:engine.url", "models:met"], 60)
    assert found["models:engine.url"] == {"value": sync_url(production)}
    assert "raw.py" in found["models:met"]["value"]


@pytest.mark.dialects("sqlite")
@pytest.mark.parametrize(
    "code",
    [
        "open(raw.FILE, 'wb').write(b'')",
        "open(raw.FILE, 'ab').write(b'x')",
        "import pathlib\npathlib.Path(raw.FILE).write_bytes(b'')",
        "import os\nos.remove(raw.FILE)",
        "import os\nos.truncate(raw.FILE, 0)",
        "import os\nos.write(os.open(raw.FILE, os.O_WRONLY), b'x')",
        "import os\nos.rename(raw.FILE, raw.FILE + '.old')",
        "import os\nos.chmod(raw.FILE, 0o777)",
        "import os, shutil\nshutil.rmtree(os.path.dirname(raw.FILE))",
        "import shutil\nshutil.copyfile('/etc/passwd', raw.FILE)",
        "import os\nos.symlink(raw.FILE, 'link')\nopen('link', 'wb').write(b'')",
        "import os, sqlite3\nc = sqlite3.connect(':memory:')\n"
        "c.execute('ATTACH ? AS crm', (raw.FILE,))\nc.execute('DROP TABLE crm.calls')",
        "import os, sqlite3\nc = sqlite3.connect('')\nc.execute(f\"VACUUM INTO '{raw.FILE}-x'\")",
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.unlink(raw.FILE.encode())",
    ],
)
@pytest.mark.any_sqlalchemy
def test_files_of_others(code: str, production: Production, tmp_path: Path) -> None:
    imported(tmp_path / "project", production, f"import raw\n{code}\n")


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_what_modules_usually_do_is_no_failure(production: Production, tmp_path: Path) -> None:
    """A log file, a folder for uploads, the version that git knows, a program that is missing."""
    models = (
        "import logging, os, subprocess, ctypes.util, platform, uuid, tempfile, pathlib\n"
        "logging.getLogger('x').addHandler(logging.FileHandler('app.log'))\n"
        "logging.getLogger('x').warning('hello')\n"
        "pathlib.Path('notes.txt').write_text('mine')\n"
        "assert pathlib.Path('notes.txt').read_text() == 'mine'\n"
        "os.makedirs('uploads', exist_ok=True)\n"
        f"home = pathlib.Path({str(tmp_path)!r}, 'home', '.app')\n"
        "home.mkdir(parents=True, exist_ok=True)\n"
        "open(home / 'app.log', 'a').write('x')\n"
        "subprocess.check_output(['git', '--version'])\n"
        # As GitPython does, which refuses to be imported without an answer (#12).
        "subprocess.check_output(['git', 'version'], stdin=subprocess.DEVNULL)\n"
        "try:\n    subprocess.run(['psql', '--version'])\nexcept FileNotFoundError:\n    pass\n"
        "ctypes.util.find_library('c'), platform.platform(), uuid.getnode()\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    open(folder + '/a', 'w').write('b')\n"
    )
    root = tmp_path / "project"
    report = imported(root, production, models)
    assert report.ok, report.errors
    assert not (root / "app.log").exists()
    assert not (root / "notes.txt").exists()
    assert not (tmp_path / "home").exists()
