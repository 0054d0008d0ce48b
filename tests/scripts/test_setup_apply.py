"""Writing several files as one step, killed at every point of it."""

import os
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

from projects import warm
from projects.setup_door import SCRIPTS, tree
from toolkit.setup.apply import JOURNAL, BusyError, StaleError, Transaction, recover
from toolkit.setup.backups import FOLDER
from toolkit.setup.changes import FileChange

pytestmark = pytest.mark.any_sqlalchemy

# Processes that die at the first, second, third ... time that they ask the system for
# something: the interpreter tells an audit hook of each open, rename, mkdir, unlink
# before it is done. One is forked for each point, in a copy of the project of its own.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from toolkit.setup.apply import Transaction
from toolkit.setup.changes import FileChange
top, commit = Path(sys.argv[2]), sys.argv[3] == "commit"
os.environ["PATH"] = ""  # no git, which is not asked for here
events = (
    "open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.",
)

def changes(root):
    return [
        FileChange(root / "alembic" / "script.py.mako", None, "mako", "new"),
        FileChange(root / "alembic" / "env.py", None, "env", "new"),
        FileChange(root / "pyproject.toml", "old project", "new project", "changed", True),
        FileChange(root / "alembic.ini", "old ini", "new ini", "replaced", True, True),
    ]

def run(root, point):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event.startswith(events):
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)
    transaction = Transaction(root, changes(root))
    sys.addaudithook(hook)
    with transaction as writing:
        if commit:
            writing.commit()
    os._exit(0)

for point in range(1, 1000):
    root = top / str(point)
    shutil.copytree(top / "template", root)
    child = os.fork()
    if child == 0:
        run(root, point)
    if os.waitpid(child, 0)[1] == 0:
        break
print(point)
"""


def make(root: Path) -> None:
    root.mkdir()
    (root / "pyproject.toml").write_text("old project")
    (root / "alembic.ini").write_text("old ini")
    (root / "alembic.ini").chmod(0o640)


def without_backups(files: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in files.items() if not name.startswith(FOLDER)}


@pytest.mark.parametrize("ending", ["commit", "roll back"])
def test_killed_at_any_moment_it_is_as_before_or_as_after(tmp_path: Path, ending: str) -> None:
    make(tmp_path / "template")
    before = tree(tmp_path / "template")
    ended = warm.completed("-c", KILLED, str(SCRIPTS), str(tmp_path), ending, timeout=240)
    assert ended.returncode == 0, ended.stderr
    points = int(ended.stdout)
    assert points > 40
    make(tmp_path / "written")
    with Transaction(tmp_path / "written", four_changes(tmp_path / "written")) as writing:
        writing.commit()
    after = tree(tmp_path / "written")
    assert len(list((tmp_path / "written" / FOLDER).rglob("*.[ti]*"))) == 2
    seen = []
    for point in range(1, points):
        root = tmp_path / f"{point}"
        recover(root)
        found = tree(root)
        if found == before:
            seen.append("before")
        else:
            assert without_backups(found) == without_backups(after), point
            assert len(found) == len(after), point
            seen.append("after")
        assert (root / "alembic.ini").stat().st_mode & 0o777 == 0o640
    # What was not proved is never kept; what was, is from one moment on.
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {"before", "after"} if ending == "commit" else {"before"}
    # The last one was not killed: the point lies behind its end.
    whole = without_backups(tree(tmp_path / str(points)))
    assert whole == (before if ending == "roll back" else without_backups(after))


def four_changes(root: Path) -> list[FileChange]:
    return [
        FileChange(root / "alembic" / "script.py.mako", None, "mako", "new"),
        FileChange(root / "alembic" / "env.py", None, "env", "new"),
        FileChange(root / "pyproject.toml", "old project", "new project", "changed", True),
        FileChange(root / "alembic.ini", "old ini", "new ini", "replaced", True, True),
    ]


def change(root: Path) -> list[FileChange]:
    return [
        FileChange(root / "deep" / "er" / "new.py", None, "new", "new"),
        FileChange(root / "pyproject.toml", "old project", "new project", "changed", True),
    ]


def test_an_error_puts_everything_back(tmp_path: Path) -> None:
    make(tmp_path / "p")
    before = tree(tmp_path / "p")
    with pytest.raises(RuntimeError), Transaction(tmp_path / "p", change(tmp_path / "p")):
        assert (tmp_path / "p/deep/er/new.py").read_text() == "new"
        raise RuntimeError
    assert tree(tmp_path / "p") == before


def test_a_file_that_a_person_edits_meanwhile_is_not_lost(tmp_path: Path) -> None:
    make(tmp_path / "p")
    with Transaction(tmp_path / "p", change(tmp_path / "p")):
        (tmp_path / "p/pyproject.toml").write_text("a person's")
    assert (tmp_path / "p/pyproject.toml").read_text() == "a person's"
    assert not (tmp_path / "p/deep").exists()


def test_where_no_backup_is_kept_the_old_text_lies_beside_what_a_person_wrote(
    tmp_path: Path,
) -> None:
    """As it is where git has it, which a person who edits meanwhile may not know."""
    make(tmp_path / "p")
    file = tmp_path / "p/pyproject.toml"
    with Transaction(tmp_path / "p", [FileChange(file, "old project", "new", "changed")]):
        file.write_text("a person's")
    assert file.read_text() == "a person's"
    (kept,) = file.parent.glob(".pyproject.toml.*")
    assert kept.read_text() == "old project"
    assert kept.name.endswith(".before")


def test_a_file_that_is_gone_meanwhile_is_put_back(tmp_path: Path) -> None:
    """Where a file can't have two names, it is gone for a moment."""
    make(tmp_path / "p")
    before = tree(tmp_path / "p")
    with Transaction(tmp_path / "p", change(tmp_path / "p")):
        (tmp_path / "p/pyproject.toml").unlink()
    assert tree(tmp_path / "p") == before


def test_a_file_that_is_named_outside_of_the_project_is_no_link_out_of_it(tmp_path: Path) -> None:
    make(tmp_path / "p")
    other = tmp_path / "alembic.ini"
    with Transaction(tmp_path / "p", [FileChange(other, None, "new", "new")]) as writing:
        writing.commit()
    assert other.read_text() == "new"


def test_a_link_is_no_journal(tmp_path: Path) -> None:
    make(tmp_path / "p")
    (tmp_path / "there").mkdir()
    (tmp_path / "p" / JOURNAL).symlink_to(tmp_path / "there")
    before = tree(tmp_path)
    assert recover(tmp_path / "p") == []
    with pytest.raises(BusyError), Transaction(tmp_path / "p", change(tmp_path / "p")):
        pass
    assert tree(tmp_path) == before


def test_a_plan_that_is_out_of_date_is_not_carried_out(tmp_path: Path) -> None:
    make(tmp_path / "p")
    changes = change(tmp_path / "p")
    (tmp_path / "p/pyproject.toml").write_text("a person's")
    before = tree(tmp_path / "p")
    with pytest.raises(StaleError), Transaction(tmp_path / "p", changes):
        pass
    assert tree(tmp_path / "p") == before


def test_two_runs_do_not_write_at_once(tmp_path: Path) -> None:
    make(tmp_path / "p")
    with Transaction(tmp_path / "p", change(tmp_path / "p")) as writing:
        with pytest.raises(BusyError), Transaction(tmp_path / "p", change(tmp_path / "p")):
            pass
        with pytest.raises(BusyError):
            recover(tmp_path / "p")
        writing.commit()
    assert (tmp_path / "p/deep/er/new.py").exists()
    assert not (tmp_path / "p" / JOURNAL).exists()


@pytest.mark.parametrize("place", ["p/shared.toml", "shared.toml"])
def test_the_place_of_a_symbolic_link_is_kept(place: str, tmp_path: Path) -> None:
    make(tmp_path / "p")
    (tmp_path / place).write_text("old project")
    (tmp_path / "p/pyproject.toml").unlink()
    (tmp_path / "p/pyproject.toml").symlink_to(tmp_path / place)
    outside = place == "shared.toml"
    with Transaction(tmp_path / "p", change(tmp_path / "p"), follow=outside) as writing:
        writing.commit()
    assert (tmp_path / "p/pyproject.toml").is_symlink()
    assert (tmp_path / place).read_text() == "new project"


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Root may write everywhere but into a file that lies where the folder should be.
        make(tmp_path / "p")
        (tmp_path / "p/deep").write_text("a file")
        before = tree(tmp_path / "p")
        with pytest.raises(OSError), Transaction(tmp_path / "p", change(tmp_path / "p")):
            pass
    else:
        make(tmp_path / "p")
        before = tree(tmp_path / "p")
        (tmp_path / "p").chmod(0o500)
        try:
            with pytest.raises(OSError), Transaction(tmp_path / "p", change(tmp_path / "p")):
                pass
        finally:
            (tmp_path / "p").chmod(0o700)
    assert tree(tmp_path / "p") == before


def test_ctrl_c_during_the_proof_puts_everything_back(tmp_path: Path) -> None:
    make(tmp_path / "p")
    before = tree(tmp_path / "p")
    program = KILLED.split("for point in", maxsplit=1)[0] + textwrap.dedent("""
        import time
        try:
            with Transaction(top, changes(top)):
                print("written", flush=True)
                time.sleep(600)
        except KeyboardInterrupt:
            sys.exit(130)
    """)
    with subprocess.Popen(
        [warm.python(), "-c", program, str(SCRIPTS), str(tmp_path / "p"), ""],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    assert tree(tmp_path / "p") == before
