"""A private PostgreSQL or MySQL server from programs that are on the machine.

It listens on a socket in a folder that only its owner may enter, has no network port
and no password, and its data goes with it. A keeper process owns it: this same file,
run by its path, which ends the server when the pipe to the program that asked closes.
So nothing stays behind after Ctrl-C, and nothing after SIGKILL either.
"""

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

START_SECONDS = 60.0
STOP_SECONDS = 10.0
PORT = 5432  # only a part of the socket's name
POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
MYSQL_FOLDERS = ("/usr/sbin", "/usr/libexec", "/opt/homebrew/bin", "/usr/local/bin")


class NoBinaries(Exception):
    """No server program was found, or it does not start. The text is one line."""


@contextlib.contextmanager
def private_server(kind: str, name: str) -> "Iterator[URL]":
    """Start a server of `kind` (`postgresql`, `mysql`); its URL without driver or database.

    `name` is for its folder. Raises NoBinaries when there is none or it does not start.
    """
    from sqlalchemy.engine import URL  # noqa: PLC0415  (the keeper runs without SQLAlchemy)

    programs = find_programs(kind)
    # In /tmp: a socket's path may have 107 bytes, and TMPDIR is often long.
    folder = Path("/tmp", name)  # noqa: S108
    keeper = subprocess.Popen(
        [sys.executable, "-P", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
        cwd="/",
    )
    assert keeper.stdin is not None and keeper.stdout is not None
    try:
        order = {"kind": kind, "folder": str(folder), "programs": programs}
        keeper.stdin.write(json.dumps(order) + "\n")
        keeper.stdin.flush()
        answer = json.loads(keeper.stdout.readline() or '{"error": "the keeper ended"}')
        if "error" in answer:
            raise NoBinaries(f"the private {kind} server did not start: {answer['error']}")
        query = answer["query"]
        yield URL.create(kind, username=answer["user"], query=query)
    finally:
        with contextlib.suppress(OSError):
            keeper.stdin.close()
        try:
            keeper.wait(STOP_SECONDS + 5)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
        keeper.stdout.close()


def find_programs(kind: str) -> dict[str, str]:
    """Paths of the programs that make and run a server, newest version first."""
    if kind == "postgresql":
        found = on_path("initdb", "postgres") or in_folders(POSTGRES_FOLDERS, "initdb", "postgres")
        if found:
            return found
        raise NoBinaries("no PostgreSQL programs (initdb, postgres) are on this machine")
    path = os.pathsep.join([os.environ.get("PATH", ""), *MYSQL_FOLDERS])
    for install, server in (("mariadb-install-db", "mariadbd"), ("mysql_install_db", "mysqld")):
        programs = {name: shutil.which(name, path=path) for name in (install, server)}
        if all(programs.values()):
            return {"install": str(programs[install]), "server": str(programs[server])}
    if mysqld := shutil.which("mysqld", path=path):
        return {"server": mysqld}
    raise NoBinaries("no MySQL or MariaDB server (mariadbd, mysqld) is on this machine")


def on_path(*names: str) -> dict[str, str]:
    found = {name: shutil.which(name) for name in names}
    return {name: str(path) for name, path in found.items()} if all(found.values()) else {}


def in_folders(patterns: tuple[str, ...], *names: str) -> dict[str, str]:
    folders = [folder for pattern in patterns for folder in Path("/").glob(pattern.lstrip("/"))]
    for folder in sorted(folders, key=version_of, reverse=True):
        if all(os.access(folder / name, os.X_OK) for name in names):
            return {name: str(folder / name) for name in names}
    return {}


def version_of(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(folder)))


def keep() -> None:
    """Start the server that standard input asks for; stop it when the input closes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = json.loads(sys.stdin.readline())
    folder = Path(order["folder"])
    log = folder / "log"
    server: subprocess.Popen[bytes] | None = None
    try:
        account = server_account(order["kind"])
        folder.mkdir(mode=0o700)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if account:
            # The server's account owns its data; the folder round it stays ours, and is
            # only passable, so that the sweep can tell whose it is.
            folder.chmod(0o711)
            os.chown(data, account.pw_uid, account.pw_gid)
        with log.open("wb") as output:
            start = start_postgres if order["kind"] == "postgresql" else start_mysql
            server, answer = start(order["programs"], data, account, output)
        print(json.dumps(answer), flush=True)
        sys.stdin.read()
    except (OSError, subprocess.SubprocessError, TimeoutError) as error:
        tail = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
        print(json.dumps({"error": tail[-1] if tail else str(error)}), flush=True)
    finally:
        if server is not None and server.poll() is None:
            server.send_signal(signal.SIGINT if order["kind"] == "postgresql" else signal.SIGTERM)
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def server_account(kind: str) -> "pwd.struct_passwd | None":
    """The account to run as when we are root, which these servers refuse to run as."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    names = ("postgres", "nobody") if kind == "postgresql" else ("mysql", "nobody")
    return next((accounts[name] for name in names if name in accounts), None)


def switched(account: "pwd.struct_passwd | None") -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def start_postgres(
    programs: dict[str, str],
    data: Path,
    account: "pwd.struct_passwd | None",
    output: IO[bytes],
) -> "tuple[subprocess.Popen[bytes], dict[str, Any]]":
    options: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": output,
        "stderr": output,
        "cwd": data,
        "env": {"LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)},
        **switched(account),
    }
    cluster = data / "cluster"
    command = [programs["initdb"], "-D", str(cluster), "-U", "scratch", "-A", "trust"]
    subprocess.run([*command, "-E", "UTF8", "--no-sync"], check=True, timeout=60, **options)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(data),
        "port": str(PORT),
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "shared_buffers": "16MB",
        "max_connections": "40",
    }
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen([programs["postgres"], "-D", str(cluster), *arguments], **options)
    wait_for(server, lambda: postgres_is_ready(cluster))
    return server, {"user": "scratch", "query": {"host": str(data), "port": str(PORT)}}


def postgres_is_ready(cluster: Path) -> bool:
    with contextlib.suppress(OSError):
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return len(lines) > 7 and lines[7].strip() == "ready"
    return False


def start_mysql(
    programs: dict[str, str],
    data: Path,
    account: "pwd.struct_passwd | None",
    output: IO[bytes],
) -> "tuple[subprocess.Popen[bytes], dict[str, Any]]":
    options: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": output,
        "stderr": output,
        "cwd": data,
        **switched(account),
    }
    cluster = data / "cluster"
    if "install" in programs:
        install = [programs["install"], "--no-defaults", f"--datadir={cluster}"]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        install += ["--skip-name-resolve", f"--tmpdir={data}"]
    else:
        install = [programs["server"], "--no-defaults", f"--datadir={cluster}"]
        install += ["--initialize-insecure"]
    subprocess.run(install, check=True, timeout=60, **options)
    address = data / "s"
    command = [programs["server"], "--no-defaults", f"--datadir={cluster}", f"--socket={address}"]
    command += ["--skip-networking", f"--pid-file={data / 'pid'}", f"--tmpdir={data}"]
    command += ["--innodb-flush-log-at-trx-commit=0"]
    server = subprocess.Popen(command, **options)
    wait_for(server, lambda: accepts(address))
    return server, {"user": "root", "query": {"unix_socket": str(address)}}


def accepts(address: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(address))
        return True
    return False


def wait_for(server: "subprocess.Popen[bytes]", ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if server.poll() is not None:
            raise TimeoutError("it ended at once")
        if time.monotonic() > deadline:
            server.kill()
            raise TimeoutError(f"it was not ready after {START_SECONDS:g} s")
        time.sleep(0.02)


if __name__ == "__main__":
    keep()
