"""`make dist`: what is in the slim skill, that others' validators accept it, and that it works."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from installing.conftest import ROOT, versioned_files

pytestmark = pytest.mark.any_sqlalchemy

NAME = "async-sqlalchemy-patterns"
DOORS = ("setup-alembic", "generate-migration", "test-connection", "optimize-queries")
TOPS = {
    *("CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "SKILL.md", "pyproject.toml"),
    *("examples", "references", "scripts", "templates"),
}
# Most of it is the scripts' source. To see it grow.
MOST_KB = {".gz": 850, ".zip": 1150}


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "VIRTUAL_ENV": sys.prefix}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def program(name: str) -> list[str | Path]:
    """A program of this environment, by its interpreter: its first line can hold no space."""
    return [sys.executable, Path(sys.executable).with_name(name)]


def names_and_run_bits(packed: Path) -> dict[str, bool]:
    if packed.suffix == ".zip":
        with zipfile.ZipFile(packed) as archive:
            # git puts the mode there as Unix does; what unpacks by Python's zipfile loses it.
            return {
                one.filename: bool(one.external_attr >> 16 & 0o100)
                for one in archive.infolist()
                if not one.is_dir()
            }
    with tarfile.open(packed) as archive:
        return {one.name: bool(one.mode & 0o100) for one in archive if not one.isdir()}


def test_both_archives_hold_one_folder_with_the_same_files(dist: Path) -> None:
    packed = sorted(dist.iterdir())
    assert [path.suffix for path in packed] == [".gz", ".zip"]
    tarball, archive = (names_and_run_bits(path) for path in packed)
    assert tarball == archive
    assert {name.partition("/")[0] for name in tarball} == {NAME}
    assert {name.split("/")[1] for name in tarball} == TOPS
    runnable = {name for name, bit in tarball.items() if bit}
    assert runnable == {f"{NAME}/scripts/{door}.sh" for door in DOORS}
    for path in packed:
        assert path.stat().st_size <= MOST_KB[path.suffix] * 1024


def test_every_path_that_the_skill_names_is_in_it(slim: Path) -> None:
    text = (slim / "SKILL.md").read_text(encoding="utf-8")
    named = set(
        re.findall(r"(?<![\w./-])((?:scripts|templates|examples|references)/[\w./-]+)", text)
    )
    assert len(named) > 30
    assert [name for name in sorted(named) if not (slim / name).exists()] == []


def test_no_link_of_its_documents_leads_out_of_it(slim: Path) -> None:
    documents = [path for path in slim.rglob("*.md") if "migrations" not in path.parts]
    links = [
        (path, link)
        for path in documents
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    ]
    assert len(links) > 50
    assert [f"{path.name}: {to}" for path, to in links if not (path.parent / to).exists()] == []


def near(said: str, real: float) -> bool:
    return abs(float(said.replace(",", "")) - real) <= 0.1 * real


def test_readme_says_how_much_each_way_brings(dist: Path, slim: Path) -> None:
    """And so does it what `make dist` prints."""
    text = (slim / "README.md").read_text(encoding="utf-8")
    brought = {
        "git clone": [ROOT / name for name in versioned_files()],
        "make dist": [path for path in slim.rglob("*") if path.is_file()],
    }
    for way, files in brought.items():
        (row,) = re.findall(rf"^\| `{way}`.* \| ([\d,]+) \| ([\d.]+) MB \|$", text, re.MULTILINE)
        size = sum(path.stat().st_size for path in files)
        assert near(row[0], len(files)), (way, len(files))
        assert near(row[1], size / 1e6), (way, size)
    for path in dist.iterdir():
        kind = "zip" if path.suffix == ".zip" else "tar.gz"
        (said,) = re.findall(rf"([\d.]+) MB as `{kind}`", text)
        assert near(said, path.stat().st_size / 1e6), path.stat().st_size


def test_the_reference_validator_and_the_linter_of_skills_accept_it(
    slim: Path, tmp_path: Path
) -> None:
    for command in (["agentskills", "validate"], ["skillsaw", "lint", "--strict"]):
        result = run(*program(command[0]), *command[1:], slim, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
    assert "Skills:    1" in result.stdout, "it looked at nothing"


@pytest.mark.parametrize("door", DOORS)
def test_its_scripts_show_their_help(door: str, slim: Path, tmp_path: Path) -> None:
    result = run("bash", slim / "scripts" / f"{door}.sh", "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "exit codes:" in result.stdout


def test_its_setup_reads_a_project_and_shows_the_difference(slim: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("")
    (tmp_path / "app" / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (tmp_path / "requirements.txt").write_text("fastapi\n")
    command = ["--dry-run", "--scaffold", "app.db"]
    result = run("bash", slim / "scripts" / "setup-alembic.sh", *command, cwd=tmp_path,
                 DATABASE_URL="sqlite+aiosqlite:///shop.db")  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    # What is copied lies in the slim skill, too.
    assert "app/db/session_manager.py (new" in result.stdout
    assert not (tmp_path / "app" / "db").exists()


def test_the_linter_of_skills_accepts_the_plugin(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    shutil.copytree(ROOT / ".claude-plugin", folder / ".claude-plugin")
    for name in ("SKILL.md", "README.md", "SECURITY.md"):
        shutil.copy(ROOT / name, folder)
    for name in ("scripts", "templates", "references", "examples", "evals"):
        # SKILL.md names their files.
        ignored = shutil.ignore_patterns("toolkit", "__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    result = run(*program("skillsaw"), "lint", "--strict", folder, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "marketplace" in result.stdout
    assert "Plugins:   1" in result.stdout
    (folder / ".claude-plugin" / "plugin.json").write_text('{"name": "Not A Name"}')
    assert run(*program("skillsaw"), "lint", "--strict", folder, cwd=tmp_path).returncode != 0
