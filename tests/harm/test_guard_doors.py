"""Projects that would harm, through all four scripts as a user starts them."""

import subprocess
from pathlib import Path

import pytest

from harm.going_round import MODELS, raw
from harm.production import Production
from projects import warm
from projects.layouts import write
from projects.setup_door import SCRIPTS, environment, tree
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

DATABASE = """
import os
from sqlalchemy import create_engine

DATABASE_URL = os.environ["DATABASE_URL"]
for driver, other in (("asyncpg", "psycopg"), ("aiomysql", "pymysql"), ("+aiosqlite", "")):
    DATABASE_URL = DATABASE_URL.replace(driver, other)
engine = create_engine(DATABASE_URL)
Base.metadata.create_all(bind=engine)
"""
MAIN = """\
from fastapi import FastAPI

import models

app = FastAPI()
"""
# Swallows what it meets, as a careful villain would.
HOSTILE = """
import os, sys, threading
import raw


def harm():
    try:
        raw.harm()
    except Exception:
        pass


harm()
threading.Thread(target=harm).start()
os.system(f"{sys.executable} -c 'import raw; raw.harm()'")
"""
SCRIPT_ARGUMENTS = {
    "setup-alembic.sh": ["--url-from", "models:DATABASE_URL"],
    "generate-migration.sh": ["first"],
    "test-connection.sh": ["--url-from", "models:DATABASE_URL"],
    "optimize-queries.sh": [],
}


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    """Started before the fixture `production` has its own TMPDIR."""
    warm.python()


def run_all(root: Path, production: Production) -> dict[str, "subprocess.CompletedProcess[str]"]:
    """How each ended; every script runs, whatever the one before it said."""
    all_ended = {}
    for script, arguments in SCRIPT_ARGUMENTS.items():
        ended = warm.door(
            SCRIPTS / script, *arguments, cwd=root, environment=environment(production.url)
        )
        print(script, ended.returncode, ended.stdout[-500:], ended.stderr[-1500:])
        all_ended[script] = ended
    return all_ended


@pytest.mark.sweep(every=3)
def test_a_project_as_in_fastapis_tutorial(production: Production, tmp_path: Path) -> None:
    """It works: create_all at import is no fault, only not what migrations are for."""
    root = tmp_path / "project"
    write(root, {"requirements.txt": "", "main.py": MAIN, "models.py": MODELS + DATABASE})
    ended = run_all(root, production)
    assert ended["setup-alembic.sh"].returncode == 0
    assert ended["generate-migration.sh"].returncode == 0
    assert "the project's models:DATABASE_URL" in ended["test-connection.sh"].stdout
    assert ended["optimize-queries.sh"].returncode == 0
    assert len(list(root.glob("alembic/versions/*.py"))) == 1


def test_a_project_that_harms_when_it_is_imported(production: Production, tmp_path: Path) -> None:
    root = tmp_path / "project"
    files = {"raw.py": raw(production), "models.py": MODELS + DATABASE + HOSTILE}
    write(root, {"requirements.txt": "", "main.py": MAIN, **files})
    before = tree(root)
    ended = run_all(root, production)
    refused = ended["setup-alembic.sh"]
    assert refused.returncode in (Exit.PROOF_FAILED, Exit.BROKEN_PROJECT)
    assert "wanted to" in refused.stderr
    assert tree(root) == before
