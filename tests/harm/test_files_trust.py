"""What another user put into a folder above the project is not believed (#11)."""

import grp
import hashlib
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harm.other_user import MALLORY, give, needs_root, shared
from projects.layouts import LAYOUTS
from projects.setup_door import SCRIPTS, environment, setup, tree
from toolkit.files.trust import doubt, is_own_group
from toolkit.setup.apply import JOURNAL, BusyError, Transaction, recover
from toolkit.setup.changes import FileChange

__all__ = ["shared"]
pytestmark = pytest.mark.any_sqlalchemy
DOOR = SCRIPTS / "setup-alembic.sh"


def plant_journal(folder: Path, victim: Path, content: str) -> Path:
    """A journal by which `victim`, as it is now, would become `content`."""
    journal = folder / JOURNAL
    journal.mkdir(mode=0o755)
    (journal / "old-0").write_text(content)
    beside = victim.with_name(f".{victim.name}.0.old")
    if os.access(victim.parent, os.W_OK):
        beside.write_text(content)
    entry = {
        "path": str(victim),
        "old": "old-0",
        "new_digest": hashlib.sha256(victim.read_bytes()).hexdigest(),
        "token": "0",
        "existed": True,
        "backup": None,
    }
    facts = journal.stat()
    document = {"folder": [facts.st_dev, facts.st_ino], "directories": [], "files": [entry]}
    (journal / "journal.json").write_text(json.dumps(document))
    return journal


@needs_root
def test_a_journal_that_another_user_planted_above_overwrites_nothing(shared: Path) -> None:
    victim = shared / "victim"
    victim.write_text("root's")
    give(plant_journal(shared, victim, "mallory's"))
    project = shared / "project"
    project.mkdir()
    assert recover(project) == []
    assert victim.read_text() == "root's"


@needs_root
def test_a_journal_in_the_project_that_is_another_users_is_named(shared: Path) -> None:
    victim = shared / "alembic.ini"
    victim.write_text("root's")
    journal = plant_journal(shared, victim, "mallory's")
    give(journal)
    (said,) = recover(shared)
    assert f"belongs to user {MALLORY}" in said
    with pytest.raises(BusyError, match="is not believed"), Transaction(shared, []):
        pass
    assert victim.read_text() == "root's"


@pytest.mark.parametrize("way", ["its path", "a link"])
def test_a_journal_that_names_a_file_outside_of_its_project_is_not_carried_out(
    tmp_path: Path, way: str
) -> None:
    """Such a journal came from elsewhere: ours name nothing that is outside."""
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    made = tmp_path / "made"
    made.mkdir()
    project = tmp_path / "project"
    project.mkdir()
    (project / "link").symlink_to(tmp_path)
    named = victim if way == "its path" else project / "link" / "victim"
    shutil.move(plant_journal(made, named, "overwritten"), project)
    journal = project / JOURNAL / "journal.json"
    # Moved within one disk it is still the same folder: say that it is not.
    document = json.loads(journal.read_text())
    journal.write_text(json.dumps({**document, "folder": [0, 0]}))
    with pytest.raises(BusyError, match="not in this project"):
        recover(project)
    assert victim.read_text() == "as it was"


def test_a_copied_project_restores_into_itself_only(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    ini = original / "alembic.ini"
    ini.write_text("old")
    change = FileChange(ini, "old", "new", "changed", True)
    with Transaction(original, [change]) as writing:
        shutil.copytree(original, copy)
        writing.commit()
    before = tree(original)
    recover(copy)
    assert (copy / "alembic.ini").read_text() == "old"
    assert not (copy / JOURNAL).exists()
    assert tree(original) == before
    assert ini.read_text() == "new"


def fake_venv(folder: Path, mark: Path) -> Path:
    """A virtual environment whose python says that it ran."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\ntouch {mark}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder


def run_below(project: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    project.mkdir(exist_ok=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", str(DOOR), "--help"],
        cwd=project,
        env={"PATH": path, "HOME": "/nonexistent", **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_root
@pytest.mark.parametrize("what", ["all", "python", "link"])
def test_an_environment_that_another_user_planted_above_is_not_run(
    shared: Path, tmp_path: Path, what: str
) -> None:
    mark = tmp_path / "ran"
    if what == "link":
        fake_venv(tmp_path / "own", mark)
        (shared / ".venv").symlink_to(tmp_path / "own")
        os.lchown(shared / ".venv", MALLORY, MALLORY)
    else:
        venv = fake_venv(shared / ".venv", mark)
        give(venv if what == "all" else venv / "bin" / "python")
    ended = run_below(shared / "project")
    assert ended.returncode == 0, ended.stderr
    assert f"belongs to user {MALLORY}" in ended.stderr
    assert "VIRTUAL_ENV=" in ended.stderr
    assert not mark.exists()


@pytest.mark.parametrize("what", ["folder above", "environment", "group"])
def test_an_environment_that_others_can_exchange_is_not_run(
    shared: Path, tmp_path: Path, what: str
) -> None:
    mark = tmp_path / "ran"
    folder = shared / "all"
    folder.mkdir(mode=0o755)
    venv = fake_venv(folder / "venv", mark)
    if what == "folder above":
        folder.chmod(0o777)  # and not sticky
    elif what == "environment":
        (venv / "bin").chmod(0o757)
    else:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file to a group that it is not in")
        os.chown(venv, 0, 4242)
        venv.chmod(0o775)
    ended = run_below(folder / "project")
    assert ended.returncode == 0, ended.stderr
    assert "can be changed by others" in ended.stderr
    assert not mark.exists()


def test_what_all_may_write_to_is_doubted_and_what_lies_in_tmp_is_not(tmp_path: Path) -> None:
    """Who may add a file to a journal may say what is put back; a sticky bit is no help there."""
    folder, elsewhere = tmp_path / "all" / "journal", tmp_path / "elsewhere"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o1777)
    for mode, words in ((0o755, None), (0o1777, "can be changed by others"), (0o757, "others")):
        folder.chmod(mode)
        assert (words or "") in (doubt(folder, elsewhere) or "")
        assert (doubt(folder, elsewhere) is None) == (words is None)


def test_a_group_is_ones_own_where_it_is_the_users_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `useradd` makes it, by the machine's own accounts."""
    names = {group.gr_gid: group.gr_name for group in grp.getgrall()}
    account = next(
        one for one in pwd.getpwall() if one.pw_uid and names.get(one.pw_gid) == one.pw_name
    )
    other = next(number for number in names if number not in (0, account.pw_gid))
    is_own = is_own_group.__wrapped__
    monkeypatch.setattr(os, "geteuid", lambda: account.pw_uid)
    monkeypatch.setattr(os, "getegid", lambda: account.pw_gid)
    assert is_own(0) and is_own(account.pw_gid) and not is_own(other)
    monkeypatch.setattr(os, "getegid", lambda: other)
    assert not is_own(account.pw_gid) and not is_own(other)


@needs_root
def test_the_folder_that_the_caller_named_may_be_another_users(
    shared: Path, tmp_path: Path
) -> None:
    """As root has it in a container, where the project is mounted from outside."""
    project = shared / "project"
    project.mkdir()
    fake_venv(project / ".venv", tmp_path / "ran")
    os.chown(project, MALLORY, MALLORY)
    ini = project / "alembic.ini"
    ini.write_text("old")
    if os.fork() == 0:
        Transaction(project, [FileChange(ini, "old", "new", "changed")]).__enter__()
        os._exit(0)
    os.wait()
    assert "the project's .venv" in run_below(project).stderr
    assert "put back" in recover(project)[0]
    assert ini.read_text() == "old"


def test_an_environment_of_ones_own_in_a_sticky_folder_is_run(shared: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    fake_venv(shared / ".venv", mark)
    ended = run_below(shared / "project")
    assert "the project's .venv" in ended.stderr
    assert mark.exists()


@needs_root
def test_what_virtual_env_names_is_the_callers_word(shared: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    give(fake_venv(shared / ".venv", mark))
    ended = run_below(shared / "project", VIRTUAL_ENV=str(shared / ".venv"))
    assert "the active virtualenv" in ended.stderr
    assert mark.exists()


@needs_root
def test_a_lock_file_that_another_user_planted_starts_no_tool(shared: Path, tmp_path: Path) -> None:
    mark, tools = tmp_path / "ran", tmp_path / "tools"
    tools.mkdir()
    for tool in ("uv", "poetry"):
        (tools / tool).write_text(f"#!/bin/sh\ntouch {mark}\nexit 1\n")
        (tools / tool).chmod(0o755)
        (shared / f"{tool}.lock").write_text("")
        os.chown(shared / f"{tool}.lock", MALLORY, MALLORY)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    ended = run_below(shared / "project", PATH=path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("is passed over") == 2
    assert not mark.exists()


MODULES = ("platform", "signal", "re", "argparse", "json", "pathlib", "traceback", "site")


def test_no_module_of_the_project_stands_for_one_of_the_library(tmp_path: Path) -> None:
    layout = LAYOUTS["app"](tmp_path / "project")
    mark = tmp_path / "ran"
    for name in MODULES:
        (layout.root / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').write(__name__)\n")
    ended = subprocess.run(
        ["bash", str(DOOR), "--dry-run", "--json"],
        cwd=layout.root,
        # As containers have it; started cold, since that is what this is about.
        env=environment("sqlite+aiosqlite:///x.db", PYTHONPATH=str(layout.root)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["status"] == "planned"
    assert not mark.exists()


def test_what_is_installed_for_pythonpath_is_still_found(tmp_path: Path) -> None:
    layout = LAYOUTS["app"](tmp_path / "project")
    found = tmp_path / "packages" / "asyncmy-9.9.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: asyncmy\nVersion: 9.9\n")
    url = "sqlite+aiosqlite:///x.db"
    path = str(tmp_path / "packages")
    ended = setup(layout.root, "--dry-run", "--json", url=url, PYTHONPATH=path)
    assert ended.document["project"]["versions"]["asyncmy"] == "9.9", ended.err


def test_the_journal_is_nobody_elses_to_read(tmp_path: Path) -> None:
    ini = tmp_path / "alembic.ini"
    ini.write_text("old")
    with Transaction(tmp_path, [FileChange(ini, "old", "new", "changed", True)]) as writing:
        assert stat.S_IMODE((tmp_path / JOURNAL).stat().st_mode) == 0o700
        writing.commit()
