"""Killed, interrupted, or out of room: the project is as it was, and the run ends (#11)."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from projects.layouts import LAYOUTS
from projects.setup_door import SCRIPTS, environment, tree
from toolkit.database.folders import HALF, PREFIX, own_folder, sweep_folders
from toolkit.migration.command import parser, run
from toolkit.migration.install import install, sweep_halves
from toolkit.project.errors import ProjectError
from toolkit.setup.apply import JOURNAL, Transaction, recover
from toolkit.setup.changes import FileChange

pytestmark = pytest.mark.any_sqlalchemy
HANG = 60

# Forks a process for each point of an action, which dies there; see test_setup_apply.py.
POINTS = """
import os, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
top = Path(sys.argv[2])
events = (
    "open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.",
)
{action}
for point in range(1, 1000):
    root = top / str(point)
    shutil.copytree(top / "template", root)
    prepare(root)
    child = os.fork()
    if child == 0:
        seen = 0
        def hook(event, arguments):
            global seen
            if event.startswith(events):
                seen += 1
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        run(root)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(point)
"""


def points(action: str, top: Path) -> int:
    """How many points there are; the folder `<n>` has what was left at the n-th."""
    code = POINTS.replace("{action}", textwrap.dedent(action))
    ended = subprocess.run(
        [sys.executable, "-c", code, str(SCRIPTS), str(top)],
        check=True,
        timeout=240,
        capture_output=True,
        text=True,
    )
    return int(ended.stdout)


def test_killed_while_it_restores_the_next_run_goes_on(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir()
    (template / "alembic.ini").write_text("old ini")
    (template / "pyproject.toml").write_text("old project")
    before = tree(template)
    found = points(
        """
        from toolkit.setup.apply import Transaction, recover
        from toolkit.setup.changes import FileChange
        os.environ["PATH"] = ""
        def prepare(root):
            changes = [
                FileChange(root / "alembic" / "env.py", None, "env", "new"),
                FileChange(root / "alembic.ini", "old ini", "new ini", "changed", True),
                FileChange(root / "pyproject.toml", "old project", "new project", "changed", True),
            ]
            child = os.fork()
            if child == 0:
                Transaction(root, changes).__enter__()
                os.kill(os.getpid(), signal.SIGKILL)
            os.waitpid(child, 0)
        run = recover
        """,
        tmp_path,
    )
    assert found > 10
    for point in range(1, found + 1):
        recover(tmp_path / str(point))
        assert tree(tmp_path / str(point)) == before, point


def test_no_revision_is_built_on_what_was_not_proved(tmp_path: Path) -> None:
    """generate-migration.sh, too, first puts back what a killed setup-alembic.sh left."""
    (tmp_path / "alembic.ini").write_text("old")
    if os.fork() == 0:
        change = FileChange(tmp_path / "alembic.ini", "old", "new", "changed")
        Transaction(tmp_path, [change]).__enter__()
        os._exit(0)
    os.wait()
    assert (tmp_path / "alembic.ini").read_text() == "new"
    said: list[str] = []
    options = parser().parse_args(["a message", "--project", str(tmp_path)])
    with pytest.raises(ProjectError):  # it has nothing else
        run(options, said.append)
    assert "put back" in said[0]
    assert (tmp_path / "alembic.ini").read_text() == "old"


def test_killed_while_it_installs_a_revision_it_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "template" / "versions").mkdir(parents=True)
    found = points(
        """
        from toolkit.migration.install import install
        def prepare(root):
            pass
        def run(root):
            install("text = 1\\n", root / "versions" / "deep" / "one.py")
        """,
        tmp_path,
    )
    assert found > 4
    for point in range(1, found + 1):
        root = tmp_path / str(point)
        sweep_halves(root)
        files = [path for path in root.rglob("*") if path.is_file()]
        assert [path.read_text() for path in files] in ([], ["text = 1\n"]), point


def test_a_file_system_without_second_names_gets_its_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)  # as FAT and some network drives answer
    install("one", tmp_path / "one.py")
    assert (tmp_path / "one.py").read_text() == "one"
    with pytest.raises(FileExistsError):
        install("two", tmp_path / "one.py")
    assert [path.name for path in tmp_path.iterdir()] == ["one.py"]
    assert (tmp_path / "one.py").read_text() == "one"


# In a disk of its own, which is full, or read-only, when it is to put everything back.
ON_A_DISK = """
import errno, os, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
disk, what = Path(sys.argv[2]), sys.argv[3]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=True)
from toolkit.setup.apply import NotRestored, Transaction, recover
from toolkit.setup.changes import FileChange
large = "x" * 100_000
(disk / "alembic.ini").write_text(large)
changes = [
    FileChange(disk / "alembic.ini", large, "new", "changed", what != "read-only"),
    FileChange(disk / "alembic" / "env.py", None, "env", "new"),
]

def fill():
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 512)
        except OSError as error:
            assert error.errno == errno.ENOSPC

def names():
    return sorted(str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file())

if what == "full before":
    fill()
    try:
        with Transaction(disk, changes):
            print("written")
    except OSError as error:
        print(error.errno == errno.ENOSPC)
elif what == "full after":
    try:
        with Transaction(disk, changes):
            fill()
            raise RuntimeError
    except RuntimeError:
        print("undone")
else:
    try:
        with Transaction(disk, changes):
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    except NotRestored as error:
        for line in error.lines:
            print(line.replace(str(disk), "DISK"))
            lies = Path(line.rpartition(" lies in ")[2])
            print(len(lies.read_text()) if "lies in" in line else "-")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    print(recover(disk))
(disk / "filler").unlink(missing_ok=True)
print(names(), (disk / "alembic.ini").read_text() == large)
"""


def on_a_disk(what: str, tmp_path: Path) -> list[str]:
    """What ON_A_DISK says, with mounts that end with it and that nobody else sees."""
    apart = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    disk = tmp_path / "disk"
    disk.mkdir()
    ended = subprocess.run(
        [*apart, sys.executable, "-c", ON_A_DISK, str(SCRIPTS), str(disk), what],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_a_disk_that_is_full_is_seen_before_anything_is_changed(tmp_path: Path) -> None:
    assert on_a_disk("full before", tmp_path) == ["True", "['alembic.ini'] True"]


def test_a_disk_that_became_full_does_not_stop_the_way_back(tmp_path: Path) -> None:
    assert on_a_disk("full after", tmp_path) == ["undone", "['alembic.ini'] True"]


def test_what_cannot_be_put_back_is_named_with_its_place_and_put_back_by_the_next_run(
    tmp_path: Path,
) -> None:
    removed, _, put_back, length, said, last = on_a_disk("read-only", tmp_path)
    assert removed == (
        "DISK/alembic/env.py could not be put back (Read-only file system): it is to be removed"
    )
    assert put_back.startswith(
        "DISK/alembic.ini could not be put back (Read-only file system): as it was it lies in DISK/"
    )
    assert length == "100000"
    assert "its files are put back as they were" in said
    assert last == "['alembic.ini'] True"


# The end by a signal: nothing here is judged by its time, but what never ends is seen.


def interrupted(code: str, *signals: signal.Signals) -> "subprocess.CompletedProcess[str]":
    """Run `code`, which says `ready`; what it said and how it ended after the signals."""
    start = (
        f"import os, signal, sys, threading, time\nsys.path.insert(0, {str(SCRIPTS)!r})\n"
        "from toolkit.report import interrupt\ninterrupt.listen()\n"
        "interrupt.PATIENCE, interrupt.AGAIN = 0.2, 0.02\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", start + textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        for number in signals:
            process.send_signal(number)
        out, err = process.communicate(timeout=HANG)
    finally:
        process.kill()
        process.wait()
    return subprocess.CompletedProcess([], process.returncode, out, err)


TWICE = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGTERM,), TWICE])
def test_what_waits_while_it_is_closed_does_not_hold_up_the_end(
    signals: tuple[signal.Signals, ...],
) -> None:
    """Two things that never answer, and behind them the project's files."""
    ended = interrupted(
        """
        try:
            try:
                try:
                    print("ready", flush=True)
                    threading.Event().wait()
                finally:
                    threading.Event().wait()
            finally:
                time.sleep(1000)
        except KeyboardInterrupt:
            print("the files are put back")
            interrupt.finish()
        """,
        *signals,
    )
    assert ended.returncode == 130
    assert ended.stdout == "the files are put back\n"
    assert "did not answer" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_thread_that_waits_for_a_server_does_not_hold_up_the_end() -> None:
    ended = interrupted(
        """
        from concurrent.futures import ThreadPoolExecutor
        try:
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(threading.Event().wait)
                print("ready", flush=True)
                waiting.result()
        except KeyboardInterrupt:
            interrupt.finish()
        """,
        signal.SIGINT,
    )
    assert ended.returncode == 130


def test_a_signal_that_does_not_end_a_wait_is_heard_all_the_same() -> None:
    """As one that comes just before the wait begins, or one that another thread is given."""
    ended = interrupted(
        """
        from concurrent.futures import ThreadPoolExecutor
        def work():
            time.sleep(0.2)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            threading.Event().wait()
        try:
            with ThreadPoolExecutor(1) as pool:
                print("ready", flush=True)
                interrupt.result_of(pool.submit(work))
        except KeyboardInterrupt:
            interrupt.finish()
        """
    )
    assert ended.returncode == 130


def test_what_fails_because_it_is_closed_is_no_error_of_its_own(tmp_path: Path) -> None:
    """The exit code says that it was interrupted, whatever came of it."""
    code = """
        import run_toolkit
        def run(command, rest):
            try:
                print("ready", flush=True)
                threading.Event().wait()
            finally:
                raise RuntimeError("closed in the middle")
        run_toolkit.run = run
        sys.exit(run_toolkit.guarded("setup-alembic.sh", "setup", []))
    """
    ended = interrupted(code, signal.SIGINT)
    assert ended.returncode == 130
    assert ended.stderr == "interrupted; nothing was left behind\n"


def test_the_files_are_put_back_without_being_disturbed() -> None:
    ended = interrupted(
        """
        try:
            with interrupt.undisturbed():
                print("ready", flush=True)
                for _ in range(20):  # longer than there is patience for
                    time.sleep(0.03)
                print("whole")
            print("not reached")
        except KeyboardInterrupt:
            interrupt.finish()
        """,
        *TWICE,
    )
    assert ended.stdout == "whole\n"
    assert ended.returncode == 130


def test_an_end_that_takes_long_is_no_death_by_the_alarm() -> None:
    """Python gives its handlers back before it takes its modules down."""
    program = f"""
import os, signal, sys, time
sys.path.insert(0, {str(SCRIPTS)!r})
from toolkit.report import interrupt
interrupt.PATIENCE = 0.2

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(1)

slow = Slow()
interrupt.listen()
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
except KeyboardInterrupt:
    interrupt.leave(interrupt.finish())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=HANG
    )
    assert ended.returncode == 130, ended.stderr


@contextmanager
def silent_server() -> Iterator[socket.socket]:
    """Takes connections and never says a word, as a server that was stopped does."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


@pytest.mark.parametrize(
    ("door", "arguments"),
    [
        ("setup-alembic.sh", ("--no-prove", "--check-database")),
        ("test-connection.sh", ("--url-env", "DATABASE_URL")),
        ("optimize-queries.sh", ("--url-env", "DATABASE_URL")),
    ],
)
def test_each_script_ends_while_its_server_is_silent(
    door: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    layout = LAYOUTS["broken_async_alembic"](tmp_path / "project")
    before = tree(layout.directory)
    with silent_server() as listener:
        port = listener.getsockname()[1]
        url = f"postgresql+asyncpg://app:word@127.0.0.1:{port}/shop"
        process = subprocess.Popen(
            ["bash", str(SCRIPTS / door), *arguments],
            cwd=layout.directory,
            env=environment(url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        listener.settimeout(HANG)
        held = [listener.accept()]
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=HANG)
        held[0][0].close()
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert tree(layout.directory) == before
    assert not (layout.root / JOURNAL).exists()


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + HANG
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    pytest.fail(f"process {pid} lives on")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_what_optimize_queries_watches_dies_with_it_and_its_folder_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = LAYOUTS["app"](tmp_path / "project")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    (layout.root / "wait.py").write_text(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        f"open({str(pids)!r}, 'w').write(f'[{{os.getpid()}}, {{child.pid}}]')\n"
        "time.sleep(1000)\n"
    )
    process = subprocess.Popen(
        ["bash", str(SCRIPTS / "optimize-queries.sh"), "--run", "python wait.py"],
        cwd=layout.root,
        env=environment("sqlite+aiosqlite:///x.db", TMPDIR=str(temporary)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    both = json.loads(pids.read_text())
    (folder,) = (path for path in temporary.iterdir() if path.name.startswith(PREFIX))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    process.kill()
    process.wait()
    for pid in both:
        wait_until_gone(pid)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with own_folder() as ours:
        sweep_folders()
        assert list(temporary.iterdir()) == [ours]


def test_a_folder_that_has_not_got_its_name_is_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed in that moment; one that is in it now goes on."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, new = (tmp_path / f"{HALF}{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (1, 1))
    sweep_folders()
    assert list(tmp_path.iterdir()) == [new]
