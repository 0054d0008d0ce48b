"""What Python's audit hook does not see, the kernel stops; and the hook does without it."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from harm.going_round import WAYS, project_of
from harm.production import Production
from servers.postgres import PostgresServer
from toolkit.fence import kernel
from toolkit.project import prove
from toolkit.project.prove import import_models

FENCE = Path(kernel.__file__)
# Confines itself, then does what a C library would: nothing of it passes the hook.
START = f"""
import ctypes, importlib.util, json, os, sys
spec = importlib.util.spec_from_file_location("kernel", {str(FENCE)!r})
kernel = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernel)
request = json.loads(sys.argv[1])
had = kernel.confine([request["ours"]], request["root"], socket=request["socket"],
                     port=request["port"])
libc = ctypes.CDLL(None, use_errno=True)
"""

pytestmark = pytest.mark.any_sqlalchemy
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


# Asked of the kernel in another way than by what is tested.
AVAILABLE = {
    "files": "ctypes.CDLL(None).syscall(444, None, 0, 1) > 0",
    "network": "any(ctypes.CDLL(None).unshare(f) == 0 for f in (0x40020000, 0x50020000))",
}


def needs(what: str, had: list[str]) -> None:
    """Skip where the kernel does not give it; fail where it does and it was not had."""
    asked = f"import ctypes; print({AVAILABLE[what]})"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True).stdout
    if said != b"True\n":
        pytest.skip(f"this kernel, or the container, does not give it: {what}")
    assert what in had


def confined(
    tmp_path: Path, program: str, *, socket: str | None = None, port: int | None = None
) -> Any:
    ours = tmp_path / "ours"
    ours.mkdir(exist_ok=True)
    request = {"ours": str(ours), "root": str(tmp_path), "socket": socket, "port": port}
    ended = subprocess.run(
        [sys.executable, "-c", f"{START}{program}", json.dumps(request)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@linux
def test_only_our_folders_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")
    program = f"""
os.chdir({str(tmp_path)!r})
child = os.fork()   # what is started later is as confined
if child == 0:
    os._exit(libc.unlink(b"kept") == 0)
print(json.dumps([had, os.waitpid(child, 0)[1], libc.open(b"new", 0o101, 0o600),
    libc.open(b"ours/new", 0o101, 0o600) > 0, libc.truncate(b"kept", 0),
    libc.rename(b"kept", b"ours/kept"), libc.open(b"/dev/null", 1) > 0,
    libc.mkdir(b"ours/a", 0o700), libc.rename(b"ours/new", b"ours/a/new")]))
"""
    had, *rest = confined(tmp_path, program)
    needs("files", had)
    assert rest == [0, -1, True, -1, -1, True, 0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "ours"]


@linux
@pytest.mark.dialects("postgresql")
def test_there_is_no_network_and_no_other_socket(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """libpq connects in C: Python sees nothing of it."""
    import socket

    ours, others = tmp_path / "a", tmp_path / "b"
    listening = []
    for path in (ours, others):
        listening.append(socket.socket(socket.AF_UNIX))
        listening[-1].bind(str(path))
        listening[-1].listen()
    url = make_url(postgres_server.url("postgres"))
    address = {"host": url.host, "port": url.port, "user": url.username, "connect_timeout": 5}
    program = f"""
import psycopg, socket
met = []
try:
    psycopg.connect(**{address!r})
except psycopg.OperationalError as error:
    met.append(str(error))
for path in ({str(ours)!r}, {str(others)!r}):
    with socket.socket(socket.AF_UNIX) as one:
        met.append(one.connect_ex(path))
print(json.dumps([had, *met]))
"""
    had, said, first, second = confined(tmp_path, program, socket=str(ours))
    for one in listening:
        one.close()
    needs("network", had)
    assert "unreachable" in said
    assert first == 0
    assert second != 0


@linux
@pytest.mark.dialects("postgresql")
def test_of_a_shared_server_only_the_port_is_open(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    port = make_url(postgres_server.url("postgres")).port
    program = f"""
import socket
with socket.socket() as one, socket.socket() as other:
    other.bind(("127.0.0.1", 0))
    other.listen()
    with socket.socket() as third:
        print(json.dumps([had, one.connect_ex(("127.0.0.1", {port})),
            third.connect_ex(other.getsockname())]))
"""
    had, right, wrong = confined(tmp_path, program, port=port)
    assert right == 0
    needs("files", had)
    assert wrong != 0


@linux
def test_it_ends_with_its_parent() -> None:
    program = f"""
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("kernel", {str(FENCE)!r})
kernel = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernel)
child = os.fork()
if child == 0:
    kernel.die_with_parent()
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(60)
    os.write(1, b"it lives")
os.wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert int(parent.stdout.readline()) > 0
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    # The pipe's other end closes with the last process that has it.
    assert parent.stdout.read() == b""
    parent.stdout.close()


@pytest.mark.parametrize("way", ["driver", "async driver", "fork", "socket"])
def test_the_hook_alone_holds_where_the_kernel_does_not_help(
    way: str, production: Production, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, and on macOS. And the skill lies in the project that it looks at."""
    root = tmp_path / "project"
    toolkit = root / "skill" / "toolkit"
    # What this worker is made of: to look at all of the toolkit takes seconds.
    for name in ("fence", "project/import_worker.py", "report/masking.py"):
        for path in (FENCE.parents[1] / name, *(FENCE.parents[1] / name).glob("*.py")):
            if path.suffix == ".py":
                target = toolkit / path.relative_to(FENCE.parents[1])
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    copy = toolkit / "fence" / "kernel.py"
    text = copy.read_text().replace('if sys.platform != "linux":\n        return ()', "return ()")
    assert text.count("    return ()\n") == 1
    copy.write_text(text)
    worker = toolkit / "project" / "import_worker.py"
    monkeypatch.setattr(prove, "_WORKER", worker)
    report = import_models(project_of(root, production, models=WAYS[way]), ["models"])
    (failure,) = report.errors
    assert "wanted to" in failure.message
    assert failure.message.startswith(("raw.py:", "models.py:"))
    assert str(failure.path) in (str(root / "raw.py"), str(root / "models.py"))


# Each with its own event, of which the kernel would stop some and not others.
CHANGES = (
    "open(FILE, 'a')",
    "os.remove(FILE)",
    "os.remove('file', dir_fd=os.open(FOLDER, os.O_RDONLY))",  # we are in the other, which is ours
    "os.rmdir(FOLDER + '/empty')",
    "os.mkdir(FOLDER + '/new')",
    "os.truncate(FILE, 0)",
    "os.chmod(FILE, 0o777)",
    "os.chown(FILE, os.getuid(), os.getgid())",
    "os.utime(FILE, (0, 0))",
    "os.setxattr(FILE, 'user.x', b'1')",
    "os.removexattr(FILE, 'user.x')",
    "os.link(OWN, FOLDER + '/link')",
    "os.symlink('/', FOLDER + '/link')",
    "os.rename(OWN, FILE)",
    "os.rename(FILE, OWN)",
)
PROGRAMS = (
    "subprocess.run(['true'])",
    "os.system('true')",
    "os.execv('/bin/true', ['true'])",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "pty.spawn(['true'])",
    "sys.audit('os.spawn', os.P_WAIT, '/bin/true', ['true'], {})",  # as on Windows
)


@linux
def test_the_hook_alone_hears_of_each_change_and_of_each_program(tmp_path: Path) -> None:
    ways = dict.fromkeys(CHANGES, "WritingIsRefused")
    ways |= dict.fromkeys(PROGRAMS, "ProgramIsRefused")
    program = f"""
import importlib.util, json, os, pty, subprocess, sys
spec = importlib.util.spec_from_file_location("hook", {str(FENCE.with_name("hook.py"))!r})
hook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hook)
OURS, FOLDER = {str(tmp_path / "ours")!r}, {str(tmp_path / "theirs")!r}
FILE, OWN = FOLDER + "/file", OURS + "/file"
for folder in (OURS, FOLDER, FOLDER + "/empty"):
    os.mkdir(folder)
for path in (FILE, OWN):
    open(path, "w").write("x")
os.chdir(OURS)
before = os.stat(FILE)
hook.Fence({{"root": "/nowhere", "writable": [OURS]}}).install()
met = {{}}
for way in {list(ways)!r}:
    try:
        exec(way)
    except OSError as error:
        met[way] = type(error).__name__
print(json.dumps([met, sorted(os.listdir(FOLDER)), os.stat(FILE) == before]))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    met, left, kept = json.loads(ended.stdout)
    assert (met, left, kept) == (ways, ["empty", "file"], True)
