"""What is replaced keeps all that it had besides its text; what is not a file stays that (#11)."""

import os
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from harm.other_user import MALLORY, as_another, needs_root, shared
from projects.layouts import LAYOUTS
from projects.setup_door import DOOR, environment, setup, tree
from toolkit.migration.refusal import Refusal
from toolkit.queries.baseline import write_whole
from toolkit.report.exits import Exit
from toolkit.setup.apply import Transaction
from toolkit.setup.backups import Backups
from toolkit.setup.changes import FileChange

__all__ = ["shared"]
pytestmark = pytest.mark.any_sqlalchemy
SQLITE = "sqlite+aiosqlite:///x.db"


def replace(path: Path, *, keep: bool = True) -> None:
    """As setup-alembic.sh does it to a person's file."""
    with Transaction(path.parent, [FileChange(path, "old", "new", "changed", True)]) as writing:
        if keep:
            writing.commit()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Asks at each operation on a file whether any file with the text can be read by others.
WATCHED = """
import os, sys
from pathlib import Path
root = Path(sys.argv[1])
sys.path.insert(0, sys.argv[2])
from toolkit.setup.apply import Transaction
from toolkit.setup.changes import FileChange
os.umask(0)
asking, seen = [False], set()
def look(event, arguments):
    if asking[0] or not event.startswith(("os.", "open")):
        return
    asking[0] = True
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if name != "journal.json" and os.path.isfile(path) and name != ".gitignore":
                mode = os.stat(path).st_mode & 0o777
                if b"SECRET" in Path(path).read_bytes() or mode & 0o077 and name.startswith(".s"):
                    seen.add((name, oct(mode)))
    asking[0] = False
change = FileChange(root / "settings.ini", "SECRET old", "SECRET new", "changed", True)
transaction = Transaction(root, [change])
sys.addaudithook(look)
with transaction as writing:
    if sys.argv[3] == "commit":
        writing.commit()
asking[0] = True
assert len(seen) > 1, seen
print({mode for _, mode in seen})
"""


@pytest.mark.parametrize("ending", ["commit", "roll back"])
def test_a_private_file_and_all_its_copies_are_private_all_the_time(
    ending: str, tmp_path: Path
) -> None:
    file = tmp_path / "settings.ini"
    file.write_text("SECRET old")
    file.chmod(0o600)
    scripts = str(Path(__file__).parents[2] / "scripts")
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path), scripts, ending],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout == "{'0o600'}\n", ended.stdout + ended.stderr
    assert mode(file) == 0o600


@needs_root
@pytest.mark.parametrize("keep", [True, False])
def test_a_file_keeps_its_owner_and_group(keep: bool, tmp_path: Path) -> None:
    file = tmp_path / "alembic.ini"
    file.write_text("old")
    os.chown(file, 1234, 4321)
    file.chmod(0o640)
    replace(file, keep=keep)
    facts = file.stat()
    assert (facts.st_uid, facts.st_gid, mode(file)) == (1234, 4321, 0o640)
    assert file.read_text() == ("new" if keep else "old")


@needs_root
def test_an_owner_that_cannot_be_kept_is_told_and_nobody_may_read_more(shared: Path) -> None:
    file = shared / "project" / "alembic.ini"
    file.parent.mkdir(mode=0o777)
    file.parent.chmod(0o777)
    file.write_text("old")
    file.chmod(0o646)
    os.chown(file, 1234, 4321)

    def change() -> list[str]:
        with Transaction(file.parent, [FileChange(file, "old", "new", "changed")]) as writing:
            writing.commit()
        return writing.notes

    notes = as_another(change)
    assert any("belonged to user 1234" in note for note in notes)
    assert mode(file) & stat.S_IRWXG == 0
    assert file.read_text() == "new"


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="nothing takes a root's rights away")
def test_the_script_tells_what_of_a_file_it_could_not_keep(tmp_path: Path) -> None:
    """By a root that may not give files away, as in a container."""
    root = LAYOUTS["broken_async_alembic"](tmp_path / "project").root
    os.chown(root / "migrations" / "env.py", 1234, 4321)
    ended = subprocess.run(
        ["setpriv", "--bounding-set=-chown", "--inh-caps=-chown", str(DOOR), "--no-prove"],
        cwd=root,
        env=environment(SQLITE),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "belonged to user 1234; it is yours now" in " ".join(ended.stdout.split()), ended.stdout


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="attributes are read on Linux only")
def test_a_file_keeps_its_access_list_and_attributes(tmp_path: Path) -> None:
    file = tmp_path / "alembic.ini"
    file.write_text("old")
    # Version 2; then tag, permission, id: owner rw, user 1234 r, group none, mask r, others none.
    entries = [(1, 6, -1), (2, 4, 1234), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
    listed = struct.pack("<I", 2)
    listed += b"".join(
        struct.pack("<HHI", tag, right, who & 0xFFFFFFFF) for tag, right, who in entries
    )
    try:
        os.setxattr(file, "system.posix_acl_access", listed)
        os.setxattr(file, "user.note", b"a person's")
    except OSError:
        pytest.skip("this file system has no access lists")
    before = mode(file)
    replace(file)
    assert file.read_text() == "new"
    assert os.getxattr(file, "system.posix_acl_access") == listed
    assert os.getxattr(file, "user.note") == b"a person's"
    assert mode(file) == before


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="attributes are read on Linux only")
def test_a_file_gets_no_access_list_from_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "alembic.ini"
    file.write_text("old")
    file.chmod(0o600)
    # As above: owner rwx, user 1234 rwx, group none, mask rwx, others none.
    entries = [(1, 7, -1), (2, 7, 1234), (4, 0, -1), (16, 7, -1), (32, 0, -1)]
    listed = b"".join(struct.pack("<HHI", *one[:2], one[2] & 0xFFFFFFFF) for one in entries)
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", struct.pack("<I", 2) + listed)
    except OSError:
        pytest.skip("this file system has no access lists")
    replace(file)
    assert file.read_text() == "new"
    assert "system.posix_acl_access" not in os.listxattr(file)
    assert mode(file) == 0o600


def test_a_link_planted_at_a_temporary_name_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("a person's")
    project = tmp_path / "project"
    project.mkdir()
    file = project / "alembic.ini"
    file.write_text("old")
    (project / ".alembic.ini.setup-alembic.tmp").symlink_to(victim)
    replace(file)
    assert victim.read_text() == "a person's"


def test_a_link_that_leads_out_of_the_project_is_named_and_followed_only_when_told(
    tmp_path: Path,
) -> None:
    layout = LAYOUTS["broken_async_alembic"](tmp_path / "project")
    env = layout.root / "migrations" / "env.py"
    shared_env = tmp_path / "shared_env.py"
    env.rename(shared_env)
    env.symlink_to(shared_env)
    before, text = tree(tmp_path), shared_env.read_text()
    refused = setup(layout.root, "--no-prove", url=SQLITE)
    assert refused.code == Exit.OUTSIDE
    assert f"{env} is {shared_env}" in refused.err
    assert "--follow-links" in refused.err
    assert tree(tmp_path) == before
    told = setup(layout.root, "--no-prove", "--follow-links", url=SQLITE)
    assert told.code == 0, told.err
    assert env.is_symlink()
    assert "Added by setup-alembic.sh" in shared_env.read_text()
    (backup,) = (layout.root / ".setup-alembic.backups").glob("*/shared_env.py")
    assert backup.read_text() == text


def git(folder: Path, *arguments: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    ended = subprocess.run(
        ["git", "-C", str(folder), *names, *arguments], check=True, capture_output=True, text=True
    )
    return ended.stdout


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")
def test_backups_do_not_stay_in_a_clean_tree_and_git_ignores_others(tmp_path: Path) -> None:
    clean, dirty, windows = (tmp_path / f"{name}.ini" for name in ("clean", "dirty", "windows"))
    clean.write_text("old")
    dirty.write_text("older")
    windows.write_bytes(b"[a]\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    replace(clean)
    assert git(tmp_path, "status", "--short", "--ignored") == " M clean.ini\n"
    dirty.write_text("old")  # as it was written since, nobody else has it
    replace(dirty)
    assert git(tmp_path, "status", "--short") == " M clean.ini\n M dirty.ini\n"
    (backup,) = (tmp_path / ".setup-alembic.backups").glob("*/dirty.ini")
    assert backup.read_text() == "old"
    windows.write_bytes(b"[a]\r\n")  # as git writes it there
    assert Backups(tmp_path).place(windows, "[a]\r\n") is None


# What options such as --html and --write-baseline name


@needs_root
def test_a_device_that_is_named_for_a_report_stays_a_device(tmp_path: Path) -> None:
    null = tmp_path / "null"
    os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    write_whole(null, "text")
    assert stat.S_ISCHR(null.stat().st_mode)


def test_a_pipe_gets_the_text_if_somebody_reads_it_and_is_no_file_afterwards(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(Refusal, match="nobody reads"):
        write_whole(pipe, "text")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_pipe_whose_reader_is_slow_gets_all_of_it(tmp_path: Path) -> None:
    pipe, output, text = tmp_path / "pipe", tmp_path / "output", "x" * 1_000_000
    os.mkfifo(pipe)  # which holds much less
    with (
        output.open("wb") as file,
        subprocess.Popen(["cat", pipe], stdout=file),
        pipe.open("wb"),  # waits for the reader
    ):
        write_whole(pipe, text)
    assert output.read_text() == text


@needs_root
def test_a_disk_is_not_written_to(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    os.mknod(disk, stat.S_IFBLK | 0o666, os.makedev(240, 0))  # which no machine has
    with pytest.raises(Refusal, match="is a disk"):
        write_whole(disk, "text")


def test_standard_output_that_is_a_file_gets_the_text_behind_what_is_there(tmp_path: Path) -> None:
    output = tmp_path / "output"
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from toolkit.queries.baseline import write_whole;"
        "print('before'); write_whole(Path('/dev/stdout'), 'text\\n'); print('after')"
    )
    scripts = str(Path(__file__).parents[2] / "scripts")
    with output.open("wb") as file:
        subprocess.run([sys.executable, "-c", code, scripts], stdout=file, check=True, timeout=60)
    assert output.read_text() == "before\ntext\nafter\n"


def test_a_report_keeps_its_link_and_its_mode(tmp_path: Path) -> None:
    target, link = tmp_path / "target.html", tmp_path / "report.html"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target.name)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert mode(target) == 0o600


@needs_root
@pytest.mark.parametrize("what", ["file", "link"])
def test_a_report_is_not_written_into_what_another_user_planted(shared: Path, what: str) -> None:
    report, victim = shared / "report.html", shared / "victim"
    victim.write_text("root's")
    if what == "link":
        report.symlink_to(victim)
    else:
        report.write_text("mallory's")
    os.lchown(report, MALLORY, MALLORY)
    with pytest.raises(Refusal, match=f"belongs to user {MALLORY}"):
        write_whole(report, "<p>values</p>")
    assert victim.read_text() == "root's"
    assert report.read_text() == ("root's" if what == "link" else "mallory's")


@needs_root
def test_a_link_of_roots_is_believed(shared: Path) -> None:
    """As an administrator makes one to where there is room."""
    own = shared / "own"
    own.mkdir(mode=0o777)
    own.chmod(0o777)
    (shared / "report.html").symlink_to(own / "report.html")
    as_another(lambda: write_whole(shared / "report.html", "text"))
    assert (own / "report.html").read_text() == "text"


def test_a_folder_that_is_named_for_a_report_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="is a folder"):
        write_whole(tmp_path, "text")
