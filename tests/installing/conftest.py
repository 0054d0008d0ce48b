"""The skill as people get it, made once for all tests: `make dist`."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from projects.once import once

ROOT = Path(__file__).resolve().parents[2]
NAME = "async-sqlalchemy-patterns"


def versioned_files() -> list[str]:
    """What git has or would take, as it lies: a clone's files."""
    git = ["git", "-C", str(ROOT), "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(
        [*git, "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in set(listed.stdout.split("\0")) if (ROOT / name).is_file()]


def git_environment(folder: Path) -> dict[str, str]:
    """For git in our checkout: whoever owns it, and without writing into it."""
    found = subprocess.run(
        [
            "git",
            "-c",
            "safe.directory=*",
            "rev-parse",
            "--path-format=absolute",
            "--git-common-dir",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        **os.environ,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_INDEX_FILE": str(folder / "index"),
        "GIT_OBJECT_DIRECTORY": str(folder),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{found.stdout.strip()}/objects",
    }


def make_dist(folder: Path) -> None:
    """`make dist` of the files as they lie: what is not committed is to be tested, too."""
    objects = folder / "objects"
    objects.mkdir(parents=True)
    environment = git_environment(objects)

    def run(*command: str) -> str:
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout.strip()

    run("git", "add", "--all")
    tree = run("git", "write-tree")
    run("make", "--no-print-directory", "dist", f"REVISION={tree}", f"DIST={folder / 'built'}")
    with tarfile.open(next((folder / "built").glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "un packed", filter="data")
    shutil.rmtree(objects)


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the tarball and the ZIP file of `make dist`."""
    return once(tmp_path_factory, "dist", make_dist) / "built"


@pytest.fixture(scope="session")
def slim(dist: Path) -> Path:
    """The slim skill, unpacked by the tarball. Not to be written to."""
    return dist.parent / "un packed" / NAME
