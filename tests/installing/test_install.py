"""The skill in somebody's project: put there by each way, at work from there, taken away again.

The client is that of `npx skills`, with the Node that it wants; `make system-deps` brings both.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from installing.conftest import versioned_files
from projects import warm
from projects.once import once
from projects.setup_door import tree

pytestmark = pytest.mark.any_sqlalchemy

ROOT = Path(__file__).resolve().parents[2]
NAME = "async-sqlalchemy-patterns"
MODULES = ROOT / ".npm" / "node_modules"
NO_CLIENT = "The client of `npx skills` is not there: `make system-deps`. NOBODY INSTALLS BY IT."
EMPTY_FOLDERS = {".claude", ".claude/skills", ".agents", ".agents/skills"}
"""They stay when the client has removed a skill."""
OLDER = "462a295"
"""The commit of version 0.4.0."""

HOST = {
    # Not the skill: people commit it, and linters pass over what git ignores.
    ".gitignore": "__pycache__/\n*.db\n",
    "pyproject.toml": (
        '[project]\nname = "host"\nversion = "0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["fastapi", "sqlalchemy[asyncio]", "alembic", "aiosqlite"]\n\n'
        # What it imports takes half a minute to check and is not ours.
        '[tool.mypy]\nfollow_imports = "skip"\n'
    ),
    "app/__init__.py": '"""The host."""\n',
    "app/main.py": "from fastapi import FastAPI\n\napp = FastAPI()\n",
    "tests/test_host.py": "def test_host() -> None:\n    assert 1 + 1 == 2\n",
}
MODEL = '''"""The tables."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base_model import SimpleBaseModel


class Customer(SimpleBaseModel):
    __tablename__ = "customers"

    email: Mapped[str] = mapped_column(String(320), unique=True)
'''


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The Python that a door finds is a warm one (#10), which has nothing of the skill imported:
    that is only for our own scripts. Started cold they are in test_dist.py and test_demo.py.
    """
    left_out = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "SCRATCH_DATABASE_URL")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={
            **environment,
            **warm.environment(),
            "DATABASE_URL": "sqlite+aiosqlite:///host.db",
            "DISABLE_TELEMETRY": "1",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def done(*command: str | Path, cwd: Path, **variables: str) -> str:
    ended = run(*command, cwd=cwd, **variables)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


# The ways


def client(host: Path, *words: str | Path) -> str:
    programs = sorted(MODULES.glob("node-*/bin/node"))
    if not programs:
        if os.environ.get("REQUIRE_SYSTEM_DEPS") == "1":
            pytest.fail(NO_CLIENT)
        pytest.skip(NO_CLIENT)
    home = host.parent / "home"
    home.mkdir(exist_ok=True)
    command = [programs[0], MODULES / "skills" / "bin" / "cli.mjs", *words, "-y"]
    return done(*command, cwd=host, HOME=str(home))


def by_client(host: Path, source: Path, *agents: str) -> None:
    named = [word for agent in agents for word in ("-a", agent)]
    assert "Installed 1 skill" in client(host, "add", source, *named)


def by_one_agents_client(host: Path, source: Path, _dist: Path) -> None:
    by_client(host, source, "claude-code")


def by_several_agents_client(host: Path, source: Path, _dist: Path) -> None:
    """One copy, with a link to it; and here without run bits, as some file systems are."""
    by_client(host, source, "claude-code", "codex", "cursor")
    skill = host / ".claude" / "skills" / NAME
    assert skill.is_symlink()
    assert not (host / ".agents").is_symlink()
    for path in (skill / "scripts").glob("*.sh"):
        path.chmod(path.stat().st_mode & ~0o111)


def by_clone(host: Path, source: Path, _dist: Path) -> None:
    done("git", "clone", "-q", source, host / ".claude" / "skills" / NAME, cwd=host)


def by_tarball(host: Path, _source: Path, dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        archive.extractall(host / ".claude" / "skills", filter="data")


def by_zip(host: Path, _source: Path, dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.zip"))) as archive:
        archive.extractall(host / ".claude" / "skills")


Way = Callable[[Path, Path, Path], None]
WAYS: Mapping[str, Way] = {
    "several agents": by_several_agents_client,
    "tarball": by_tarball,
    "one agent": by_one_agents_client,
    "clone": by_clone,
    "zip": by_zip,
}
SLIM = ("several agents", "tarball", "zip")
"""Ways that bring what `make dist` packs: the client copies all for each agent (#10)."""


def make_checkout(folder: Path) -> None:
    """The files as they lie, committed: what a clone or the client would get."""
    for name in versioned_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    commit(folder)


def commit(folder: Path) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "--all"], [*who, "commit", "-qm", "all"]):
        done("git", *words, cwd=folder)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "a check out", make_checkout)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    folder = tmp_path / "my projects" / "host"
    for name, text in HOST.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    commit(folder)
    return folder


def check_host(host: Path) -> None:
    """What its build server runs; and that git sees nothing new but the skill."""
    for words in (
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["mypy", "--cache-dir", os.devnull, "."],
        ["pytest", "-q", "-p", "no:cacheprovider"],
    ):
        done(sys.executable, "-m", *words, cwd=host)
    new = set(done("git", "status", "--porcelain", cwd=host).splitlines())
    assert new <= {"?? .claude/", "?? .agents/", "?? skills-lock.json"}


def files(folder: Path) -> dict[str, str]:
    """Without what git and Python keep beside them."""
    return {
        name: digest
        for name, digest in tree(folder).items()
        if name.partition("/")[0] != ".git" and "__pycache__" not in name
    }


@pytest.mark.sweep(every=9)
@pytest.mark.parametrize("way", WAYS)
def test_each_way_brings_a_skill_and_leaves_the_host_as_it_was(
    way: str, host: Path, checkout: Path, dist: Path, slim: Path
) -> None:
    before = files(host)
    source = slim if way in SLIM else checkout
    WAYS[way](host, source, dist)
    skill = host / ".claude" / "skills" / NAME
    help_ = done("bash", skill / "scripts" / "setup-alembic.sh", "--help", cwd=host)
    assert "exit codes:" in help_
    brought, wanted = files(skill), files(source)
    assert brought == wanted
    check_host(host)
    # What would be seen if the host's tools looked there: else the above proves nothing.
    (skill / "scripts" / "bad.py").write_text("import os\n")
    assert run(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=host).returncode == 1

    # And away again.
    if "agent" in way:
        client(host, "remove", NAME)
        assert NAME not in json.loads((host / "skills-lock.json").read_text())["skills"]
        (host / "skills-lock.json").unlink()  # it is the client's, and stays
    else:
        shutil.rmtree(skill)
    left = {name: one for name, one in files(host).items() if name not in EMPTY_FOLDERS}
    assert left == before


@pytest.mark.sweep(every=9)
@pytest.mark.parametrize("way", ["tarball", "several agents"])
def test_from_there_everything_works(way: str, host: Path, slim: Path, dist: Path) -> None:
    """The four scripts from an application without a database on, a template, an example."""
    WAYS[way](host, slim, dist)
    skill = Path(".claude", "skills", NAME)
    brought = files(host / skill)

    def door(name: str, *arguments: str) -> str:
        return done("bash", skill / "scripts" / f"{name}.sh", *arguments, cwd=host)

    door("setup-alembic", "--scaffold", "app.db")
    (host / "app" / "db" / "models.py").write_text(MODEL)
    assert "add_customers.py" in door("generate-migration", "add customers")
    done(warm.python(), "-m", "alembic", "upgrade", "head", cwd=host)
    assert "nothing to do" in door("setup-alembic")
    door("generate-migration", "--check")
    # Beside a folder `alembic` a linter takes that name for a package of the project's (#16).
    ruff = ("ruff", "check", "--isolated", "--no-cache")
    done(sys.executable, "-m", *ruff, "app", "alembic", "tests", cwd=host)
    assert "at the head" in door("test-connection")
    door("optimize-queries", "--layers", "code")

    shutil.copy(host / skill / "templates" / "errors.py", host / "app")
    program = (
        "from app.main import app; from app.errors import install_error_handlers as do; do(app)"
    )
    done(warm.python(), "-W", "error", "-c", program, cwd=host)
    assert done(warm.python(), skill / "examples" / "user_model.py", cwd=host)

    assert files(host / skill) == brought, "nothing is written into the skill"


def older_skill(folder: Path) -> Path:
    """Version 0.4.0, from the history of this repository."""
    git = ["git", "-c", "safe.directory=*", "archive", f"--output={folder}.tar", OLDER]
    ended = run(*git, cwd=ROOT)
    if ended.returncode:
        # A clone without a history, or no clone at all: there is nothing to update from.
        pytest.skip(f"the commit {OLDER} is not here: {ended.stderr}")
    with tarfile.open(f"{folder}.tar") as archive:
        archive.extractall(folder, filter="data")
    assert '"0.4.0"' in (folder / "SKILL.md").read_text(encoding="utf-8")
    return folder


def own_files(host: Path) -> dict[str, str]:
    """The project's, without the skill and what the client keeps."""
    return {name: one for name, one in files(host).items() if not name.startswith((".", "skills-"))}


def test_an_update_over_an_older_version_leaves_the_project_as_it_was(
    host: Path, checkout: Path, tmp_path: Path
) -> None:
    """What the older scripts made is what the newer want, and none of their files stays."""
    skill = host / ".claude" / "skills" / NAME
    by_client(host, older_skill(tmp_path / "older"), "claude-code")
    done("bash", skill / "scripts" / "setup-alembic.sh", "--scaffold", "app.db", cwd=host)
    (host / "app" / "db" / "models.py").write_text(MODEL)
    done("bash", skill / "scripts" / "generate-migration.sh", "add customers", cwd=host)
    before = own_files(host)

    by_client(host, checkout, "claude-code")
    assert files(skill) == files(checkout)
    done("bash", skill / "scripts" / "generate-migration.sh", "--check", cwd=host)
    done("bash", skill / "scripts" / "setup-alembic.sh", "--dry-run", cwd=host)
    client(host, "remove", NAME)
    assert own_files(host) == before


def test_a_zip_file_loses_the_run_bit(host: Path, checkout: Path, dist: Path) -> None:
    """So that the other tests are about what they say: here it is lost, in a tarball it is not."""
    for way, kept in ((by_zip, False), (by_tarball, True)):
        way(host, checkout, dist)
        mode = (host / ".claude" / "skills" / NAME / "scripts" / "setup-alembic.sh").stat().st_mode
        assert bool(mode & stat.S_IXUSR) is kept
