"""The demo: build a small FastAPI project with this skill, as a user would, and talk to it.

`make demo` runs this. It makes a fresh project in demo/ beside the Makefile, from `project/`
(what is there before the skill), then `setup-alembic.sh`, then `written/` (what a person still
writes: models and endpoints), then a migration, and then real HTTP requests against uvicorn.
The database is a SQLite file in demo/, or the one that DATABASE_URL names; the tables that the
demo makes there are taken away at its end.

The screen has what happens and why; demo/transcript.txt has all of it, diffs and answers.
The exit code is 0 only if each step and each answer is what it should be.
"""

import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MARKER = ".made-by-make-demo"
SQLITE_URL = "sqlite+aiosqlite:///demo.db"
TABLES = ("demo_customers", "demo_orders")
START_LIMIT = 30.0
"""Seconds that the server may take to start."""
TOLD = re.compile(r"(create table|Proved|proved on) ")
"""What the screen repeats of a script's output."""
TRANSCRIPT = "transcript.txt"

# What running the project leaves behind; none of it is somebody's work.
LEFTOVERS = (MARKER, TRANSCRIPT, "demo.db", "demo.db-shm", "demo.db-wal", "server.log")


class DemoError(Exception):
    """A step that did not go as it should: one line for the reader."""


# The transcript


LINES: list[str] = []


def say(text: str) -> None:
    """A line for the screen and the transcript."""
    LINES.append(text)
    print(text, flush=True)


def note(text: str) -> None:
    """Details, which the transcript has."""
    LINES.extend(f"   {line}" for line in text.splitlines())


def heading(text: str) -> None:
    say(f"== {text}")


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Say that `what` is still running: after three seconds, then every five."""
    started = time.monotonic()
    done = threading.Event()

    def tick() -> None:
        pause = 3.0
        while not done.wait(pause):
            say(f"   ... {what}: {time.monotonic() - started:.0f} s")
            pause = 5.0

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()


# The project in demo/


def fingerprint(demo: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file that a person could have edited."""
    return {
        path.relative_to(demo).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(demo.rglob("*"))
        if path.is_file() and path.name not in LEFTOVERS and not in_cache(path.relative_to(demo))
    }


def in_cache(path: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts[:-1])


def require_replaceable(demo: Path) -> None:
    """Refuse a demo/ that is not ours, or that somebody has worked in since."""
    if not demo.exists():
        return
    try:
        made = json.loads((demo / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DemoError(f"{demo} was not made by `make demo`: move it away first") from None
    if not made:
        return  # an earlier run was stopped before its project was complete
    now = fingerprint(demo)
    edited = sorted(name for name in made.keys() | now.keys() if made.get(name) != now.get(name))
    if edited:
        raise DemoError(
            f"{demo} has changes since `make demo` made it ({', '.join(edited[:5])}): "
            "move it away or delete it, then run this again"
        )


def write_marker(demo: Path, files: Mapping[str, str]) -> None:
    (demo / MARKER).write_text(json.dumps(files, indent=1), encoding="utf-8")


def copy_sources(source: Path, demo: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file() and not in_cache(path.relative_to(source)):
            target = demo / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            note(f"demo/{target.relative_to(demo).as_posix()}")


# Commands


@dataclass(frozen=True)
class Shell:
    """Runs commands with the demo's environment and shows what they print."""

    environment: Mapping[str, str]

    def run(self, *command: str, cwd: Path, shown: str | None = None) -> str:
        """The command's output; raises DemoError where its exit code is not 0."""
        line = shown or shlex.join(command)
        say(f"$ {line}")
        code, output = self.capture(*command, cwd=cwd, what=line)
        note(output)
        for told in output.splitlines():
            if code or TOLD.match(told.strip()):
                print(f"   {told.strip()}", flush=True)
        if code:
            raise DemoError(f"`{line}` ended with exit code {code}")
        return output

    def capture(self, *command: str, cwd: Path, what: str) -> tuple[int, str]:
        """Exit code and output (both streams, in order) of a command."""
        with progress(what):
            ended = subprocess.run(
                command,
                cwd=cwd,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        return ended.returncode, ended.stdout


def demo_environment(database_url: str) -> dict[str, str]:
    """This interpreter's environment as if it were activated in a shell."""
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
    }
    environment.pop("PYTHONPATH", None)
    if sys.prefix != sys.base_prefix:
        environment["VIRTUAL_ENV"] = sys.prefix
    return environment


def alembic(shell: Shell, project: Path, *arguments: str) -> str:
    # `python -m`: the first line of a script cannot name an interpreter with a space in it.
    command = (sys.executable, "-m", "alembic", *arguments)
    return shell.run(*command, cwd=project, shown=shlex.join(["alembic", *arguments]))


# A database that is not ours


def take_back_earlier_tables(shell: Shell, demo: Path) -> None:
    """Undo in the database what a killed run of this demo/ left there, with its own revisions."""
    if not (demo / "alembic.ini").is_file():
        return
    current = (sys.executable, "-m", "alembic", "current")
    code, output = shell.capture(*current, cwd=demo, what="alembic current")
    if code == 0 and "(head)" in output:
        heading("An earlier demo was stopped before it could tidy up: taking its tables away")
        alembic(shell, demo, "downgrade", "base")


def require_room(shell: Shell, demo: Path) -> None:
    """Refuse a database with somebody's migrations, or with tables of the names we need."""
    probe = (sys.executable, str(HERE / "look.py"), *TABLES)
    code, output = shell.capture(*probe, cwd=demo, what="looking at the database")
    if code:
        raise DemoError(f"DATABASE_URL cannot be used: {output.strip()}")


# The server


@contextmanager
def running_server(shell: Shell, demo: Path) -> Iterator[tuple[str, int]]:
    """uvicorn on a free port; yields its host and port, and always stops it."""
    log = demo / "server.log"
    # Port 0 lets the system choose; any port that we chose could be taken by the time.
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1"]
    say(f"$ uvicorn {shlex.join([*command[3:], '--port', '0'])}")
    with log.open("w", encoding="utf-8") as output:
        # A session of its own: Ctrl-C reaches us alone, and we stop it in order.
        server = subprocess.Popen(
            [*command, "--port", "0"],
            cwd=demo,
            env=dict(shell.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with progress("waiting for the server"):
            address = wait_for_address(server, log)
        say(f"   running on http://{address[0]}:{address[1]}, log in demo/server.log")
        yield address
    finally:
        stop(server)
        note("server stopped")


def wait_for_address(server: "subprocess.Popen[bytes]", log: Path) -> tuple[str, int]:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"running on http://([\d.]+):(\d+)", text):
            return found[1], int(found[2])
        if server.poll() is not None:
            raise DemoError(f"the server ended at its start: {last_line(text)} (see {log})")
        time.sleep(0.05)
    raise DemoError(f"the server did not start within {START_LIMIT:.0f} s (see {log})")


def last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no output")


def stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


# HTTP


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any


class Client:
    """One keep-alive connection: a read right after a write meets the same server at once."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = http.client.HTTPConnection(host, port, timeout=30)

    def send(self, method: str, path: str, body: object = None) -> Answer:
        payload = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            with progress(f"{method} {path}"):
                self.connection.request(method, path, payload, headers)
                response = self.connection.getresponse()
                text = response.read().decode("utf-8")
        except (OSError, http.client.HTTPException) as error:
            raise DemoError(f"{method} {path} was not answered: {error!r}") from error
        if response.status >= 500:
            self.connection.close()  # the server does so, too; the next request opens another
        if text and response.headers.get_content_type() == "application/json":
            return Answer(response.status, json.loads(text))
        return Answer(response.status, text or None)

    def expect(
        self,
        why: str,
        status: int,
        method: str,
        path: str,
        body: object = None,
        **fields: object,
    ) -> Answer:
        """Send a request, show it, and check the answer's status and some of its fields."""
        answer = self.send(method, path, body)
        say(f"   -> {answer.status} {method:6} /{re.split('[/?]', path)[1]:10} {why}")
        note(f"   {method} {path} {'' if body is None else json.dumps(body)}")
        note(f"   {'' if answer.body is None else json.dumps(answer.body)}")
        if answer.status != status:
            raise DemoError(f"{why}: expected {status}, got {answer.status}")
        for name, value in fields.items():
            if answer.body[name] != value:
                raise DemoError(f"{why}: expected {name} = {value!r}, got {answer.body[name]!r}")
        return answer


def conversation(client: Client) -> None:
    """The requests of the demo, each with the answer it must have."""
    # New addresses on each run: the database may be one that outlives it.
    email = f"ada.{uuid.uuid4().hex[:8]}@example.org"
    ada = {"email": email, "name": "Ada"}

    first = client.expect("create", 201, "POST", "/customers", ada, email=email, version=1).body
    path = f"/customers/{first['id']}"
    read = client.expect("read it back at once, on the same connection", 200, "GET", path).body
    if read != first:
        raise DemoError("what was read is not what was created")

    renamed = client.expect(
        "update; updated_at is there without another query",
        *(200, "PATCH", path, {"name": "Ada L.", "version": 1}),
        name="Ada L.",
        version=2,
    ).body
    if not renamed["updated_at"] > first["updated_at"]:
        raise DemoError("updated_at did not move")
    stale = {"name": "Somebody else", "version": 1}
    client.expect("conflict: an edit of a version that is gone", 409, "PATCH", path, stale)
    client.expect("conflict: the same e-mail address again", 409, "POST", "/customers", ada)
    order = {"customer_id": first["id"], "cents": 1250}
    client.expect("an order", 201, "POST", "/orders", order)

    client.expect("soft delete", 204, "DELETE", path)
    client.expect("read it after the delete", 404, "GET", path)
    client.expect("the address is free again", 201, "POST", "/customers", ada, email=email)

    nobody = str(uuid.uuid4())
    lost = {"customer_id": nobody, "cents": 999}
    client.expect(
        "the commit fails after the endpoint returned 201, and the client is told",
        *(500, "POST", "/orders", lost),
    )
    orders = "/orders?customer_id="
    rows = client.expect("and no row is there", 200, "GET", f"{orders}{nobody}").body
    kept = client.expect("while the good order is", 200, "GET", f"{orders}{first['id']}").body
    if rows or [row["cents"] for row in kept] != [1250]:
        raise DemoError("the orders are not what was committed")


# The whole


def build(shell: Shell, demo: Path) -> None:
    """Make the project in demo/, from nothing to its first migration."""
    heading("1. A small FastAPI project, without a database")
    shutil.rmtree(demo, ignore_errors=True)
    demo.mkdir()
    write_marker(demo, {})
    copy_sources(HERE / "project", demo)

    heading("2. The database layer and Alembic, in one command")
    setup = ("bash", "scripts/setup-alembic.sh", "--project", demo.name, "--scaffold", "app.db")
    shell.run(*setup, cwd=ROOT)

    heading("3. What you write: models and endpoints")
    copy_sources(HERE / "written", demo)

    heading("4. The first migration, run up, down and up before anybody reads it")
    shell.run("bash", "../scripts/generate-migration.sh", "initial schema", cwd=demo)
    write_marker(demo, fingerprint(demo))


def by_hand(demo: Path, own_database: bool) -> Iterable[str]:
    """The commands with which a person goes on, to be typed as they are."""
    activate = Path(sys.prefix) / "bin" / "activate"
    yield f"cd {shlex.quote(str(demo))}"
    if activate.is_file():
        yield f"source {shlex.quote(str(activate))}"
    if own_database:
        yield f"export DATABASE_URL={SQLITE_URL}"
    else:
        yield "export DATABASE_URL=...   # the one you gave"
        yield "python -m alembic upgrade head"
    yield "python -m uvicorn app.main:app --reload   # then open http://127.0.0.1:8000/docs"
    yield "# after a change of app/db/models.py:"
    yield 'bash ../scripts/generate-migration.sh "what changed"'
    yield "python -m alembic upgrade head"


def demonstrate(demo: Path, given_url: str | None) -> None:
    require_replaceable(demo)
    shell = Shell(demo_environment(given_url or SQLITE_URL))
    if given_url:
        take_back_earlier_tables(shell, demo)
    with ExitStack() as at_the_end:
        at_the_end.callback(save_transcript, demo)
        build(shell, demo)
        heading(f"5. alembic upgrade head, on {'DATABASE_URL' if given_url else SQLITE_URL}")
        if given_url:
            require_room(shell, demo)
            at_the_end.callback(leave_as_found, shell, demo)
        alembic(shell, demo, "upgrade", "head")
        alembic(shell, demo, "current", "--check-heads")

        heading("6. The application, over HTTP")
        with running_server(shell, demo) as (host, port):
            conversation(Client(host, port))

    heading(f"Done: each answer is what it should be; demo/{TRANSCRIPT} has all of it.")
    say("   To go on by hand:")
    for line in by_hand(demo, own_database=not given_url):
        say(f"   {line}")


def save_transcript(demo: Path) -> None:
    if (demo / MARKER).is_file():  # else it is not ours, or not there yet
        (demo / TRANSCRIPT).write_text("\n".join([*LINES, ""]), encoding="utf-8")


def leave_as_found(shell: Shell, demo: Path) -> None:
    heading("7. The tables of the demo leave your database again (alembic_version stays, empty)")
    alembic(shell, demo, "downgrade", "base")


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    # `kill` and a closed terminal take the way of Ctrl-C, so that the server is stopped.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)
    try:
        demonstrate(ROOT / "demo", os.environ.get("DATABASE_URL") or None)
    except DemoError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo was interrupted; its server is stopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
