"""test-connection.sh as a person and a build server meet it: the door, its limits, its secrets."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from sqlalchemy import make_url

from projects import warm
from projects.connection_bench import (
    DOOR,
    SCRIPTS,
    SECRETS,
    VARIABLE,
    Bench,
    Run,
    call,
    listener,
    slow_line,
)
from servers import mysql, pgbouncer, private
from servers.postgres import wait_for
from toolkit.connection import command
from toolkit.connection.end_of_life import end_of_life
from toolkit.connection.steps import Broken, Layer, ok
from toolkit.report.exits import Exit
from toolkit.report.masking import Masker

# The layers themselves are tried on each SQLAlchemy by test_connection_faults.py.
pytestmark = pytest.mark.any_sqlalchemy

needs_pgbouncer = pytest.mark.skipif(
    pgbouncer.program() is None and os.environ.get("REQUIRE_SYSTEM_DEPS") != "1",
    reason=pgbouncer.NO_PGBOUNCER,
)
needs_mysql = pytest.mark.skipif(
    mysql.find("mariadbd", "mysqld") is None and os.environ.get("REQUIRE_MYSQL") != "1",
    reason=mysql.NO_MYSQL,
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("my bench"))
    yield made
    made.close()


def environment(url: str | None = None) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("DATABASE_", "PG"))}
    made = {**kept, "VIRTUAL_ENV": sys.prefix}
    return {**made, VARIABLE: url} if url else made


def start(bench: Bench, *arguments: str, url: str | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["bash", str(DOOR), *arguments],
        cwd=bench.empty,
        env=environment(url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


# What it says


def test_help_names_every_layer_and_code(bench: Bench) -> None:
    ended = warm.door(DOOR, "--help", cwd=bench.empty, environment=environment())
    assert ended.returncode == 0
    for layer in Layer:
        assert f"  {layer:<11} {layer.code.value:>3}  {layer.about}" in ended.stdout
    for code in Exit:
        assert f"{code.value:>3}  {code.meaning}" in ended.stdout


def test_text_and_json_say_the_same(bench: Bench) -> None:
    run = Run(bench.url())
    text, document = call(run, bench.empty).out, call(run, bench.empty, "--json").document
    assert document["status"] == "ok"
    assert document["exit"] == 0
    assert [step["layer"] for step in document["steps"]] == list(Layer)
    for step in document["steps"]:
        assert f" {step['layer']} " in text
    assert document["url"].startswith("postgresql+asyncpg://postgres:***@127.0.0.1:")
    latency = next(step for step in document["steps"] if step["layer"] == "latency")["data"]
    for measured in (latency["connect_ms"], latency["query_ms"]):
        assert 0 < measured["p50"] <= measured["p95"] <= measured["p99"]


def test_after_the_broken_layer_nothing_is_claimed(bench: Bench) -> None:
    run = Run(bench.url(port=private.free_port()))
    ended = call(run, bench.empty, "--json")
    done = [step["status"] for step in ended.document["steps"]]
    place = list(Layer).index(Layer.NETWORK)
    assert done[:place] == ["ok"] * place
    assert done[place] == "broken"
    assert set(done[place + 1 :]) == {"not checked"}
    text = call(run, bench.empty).out
    assert text.count("BROKEN") == 1
    assert text.count("next: ") == 1


def test_localhost_with_one_address_that_refuses_is_no_fault(bench: Bench) -> None:
    ended = call(Run(bench.url(host="localhost")), bench.empty, "--json")
    assert ended.code == 0
    assert ended.step("network")["status"] == "ok"
    assert "127.0.0.1" in ended.step("name")["data"]["addresses"]


# Warnings


@pytest.mark.parametrize(
    ("change", "layer", "words"),
    [
        ({"drivername": "postgresql"}, "driver", "names no driver"),
        ({"drivername": "postgresql+psycopg2"}, "driver", "psycopg2"),
        ({"query": {"sslmode": "prefer", "options": "-c jit=off"}}, "url", "options, sslmode"),
        ({"database": "restricted"}, "privileges", "may not create tables"),
    ],
)
def test_a_warning_does_not_stop_it(
    bench: Bench, change: dict[str, object], layer: str, words: str
) -> None:
    """And --strict makes it a failure, with the code of its layer."""
    if change.get("database") == "restricted":
        change = {"database": bench.database(), "username": bench.role()}
        bench.pg.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", str(change["database"]))
    run = Run(bench.url(**change))  # type: ignore[arg-type]
    ended = call(run, bench.empty, "--json")
    assert ended.code == 0, ended.out
    assert ended.document["status"] == "warnings"
    warned = [step for step in ended.document["steps"] if step["status"] == "warning"]
    assert [step["layer"] for step in warned] == [layer]
    assert words in warned[0]["message"]
    assert ended.step("timeouts")["status"] == "ok"
    assert call(run, bench.empty, "--strict").code == Layer(layer).code


def test_a_hash_in_the_password_is_named(bench: Bench) -> None:
    role = bench.name("role")
    bench.pg.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'ab#cd/ef'")
    url = f"postgresql+asyncpg://{role}:ab#cd/ef@127.0.0.1:{bench.pg.port}/shop"
    ended = call(Run(url), bench.empty)
    assert ended.code == 0, ended.out
    assert "unquoted # and /" in " ".join(ended.out.split())
    assert "cd/ef" not in ended.out + ended.err


def test_a_newer_revision_than_the_code_has_is_a_warning(bench: Bench) -> None:
    shop, database = bench.shop(), bench.database()
    shop.add_revision("0001", None)
    bench.pg.execute("CREATE TABLE alembic_version (version_num text)", database)
    bench.pg.execute("INSERT INTO alembic_version VALUES ('0009')", database)
    run = Run(bench.url(database), ("--project", str(shop.root)))
    ended = call(run, bench.empty, "--json")
    assert ended.code == 0
    assert ended.step("revision")["status"] == "warning"
    assert "0009" in ended.step("revision")["message"]


@needs_mysql
def test_mysql_warnings(bench: Bench) -> None:
    """One run: the clock, sql_mode and wait_timeout of a session."""
    account = bench.account("SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON shop.*")
    settings = "SET timestamp = UNIX_TIMESTAMP() - 100, sql_mode = '', wait_timeout = 60"
    with bench.my_global("init_connect", repr(settings)):
        ended = call(Run(bench.my_url(username=account)), bench.empty, "--json")
    assert ended.code == 0, ended.out
    found = {s["layer"]: s for s in ended.document["steps"] if s["status"] == "warning"}
    assert set(found) == {"server", "clock", "timeouts"}
    # The session's clock stands still, so what the run takes comes on top.
    assert -160 < found["clock"]["data"]["skew_seconds"] < -98
    assert "strict" in found["server"]["message"]
    assert "pool_recycle=30" in found["timeouts"]["next"]


def test_a_slow_line_is_measured(bench: Bench) -> None:
    with slow_line(bench.pg.port, 0.03) as port:
        ended = call(Run(bench.url(port=port), ("--load", "2")), bench.empty, "--json")
    assert ended.code == 0, ended.out
    step = ended.step("latency")
    assert step["status"] == "warning"
    assert step["data"]["query_ms"]["p50"] >= 30
    assert ended.step("clock")["data"]["uncertainty_seconds"] >= 0.015


def test_sqlite_in_memory_is_said(bench: Bench) -> None:
    ended = call(Run("sqlite+aiosqlite://"), bench.empty, "--json")
    assert ended.code == 0
    assert ended.step("database")["status"] == "warning"


# Limits


def test_never_more_connections_than_half_of_what_is_free(bench: Bench) -> None:
    role = bench.role("LOGIN CONNECTION LIMIT 7")
    more = ("--pool-size", "7", "--max-overflow", "0", "--load", "30")
    ended = call(Run(bench.url(username=role), more), bench.empty, "--json")
    assert ended.code == 0, ended.out
    assert ended.step("pool")["data"]["connections"] == 3
    assert ended.step("pool")["data"]["failed"] == 0
    assert ended.step("head-room")["status"] == "warning"
    assert ended.step("head-room")["data"]["free"] == 6


def test_what_is_reserved_for_administrators_is_not_counted(bench: Bench) -> None:
    names = "name = 'max_connections' OR name LIKE '%reserved_connections'"
    rows = bench.pg.execute(f"SELECT name, setting::int FROM pg_settings WHERE {names}")
    settings = {row[0]: row[1] for row in rows}
    most = settings.pop("max_connections")
    assert sum(settings.values()) > 0
    ended = call(Run(bench.url(username=bench.role()), ("--load", "1")), bench.empty, "--json")
    assert ended.step("head-room")["data"]["limit"] == most - sum(settings.values())
    ended = call(Run(bench.url(), ("--load", "1")), bench.empty, "--json")
    assert ended.step("head-room")["data"]["limit"] == most


def test_the_last_connection_is_left_to_others(bench: Bench) -> None:
    role = bench.role("LOGIN CONNECTION LIMIT 1")
    more = ("--pool-size", "1", "--max-overflow", "0")
    ended = call(Run(bench.url(username=role), more), bench.empty, "--json")
    assert ended.code == 0, ended.out
    assert ended.step("latency")["status"] == "not checked"
    assert ended.step("pool")["status"] == "not checked"


def test_the_time_for_all_together_holds(bench: Bench) -> None:
    with slow_line(bench.pg.port, 0.4) as port:
        run = Run(bench.url(port=port), ("--timeout", "3"), whole=True)
        ended = call(run, bench.empty, "--json")
    assert ended.code != 0
    assert "--timeout" in ended.document["next"] or "log" in ended.document["next"]
    assert ended.document["layer"] in {"login", "server", "privileges", "latency"}


def test_ctrl_c_closes_its_connections(bench: Bench) -> None:
    ours = "SELECT count(*) {} 0 FROM pg_stat_activity WHERE application_name = 'test-connection'"
    with slow_line(bench.pg.port, 0.05) as port:
        process = start(bench, "--url-env", VARIABLE, url=bench.url(port=port))
        wait_for(ours.format(">"), bench.pg, "postgres", seconds=20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert process.returncode == Exit.INTERRUPTED, out + err
        assert "Traceback" not in out + err
        wait_for(ours.format("="), bench.pg, "postgres")


@needs_pgbouncer
def test_no_prepared_statement_stays_behind_on_the_pooler(bench: Bench) -> None:
    """Another client would meet it: its name is taken."""
    ended = call(Run(bench.bouncer.url("shop")), bench.empty, "--json")
    assert ended.code == Exit.POOLER
    assert ended.step("pooler")["data"]["failed"] > 0
    url = make_url(bench.bouncer.url("shop"))
    with contextlib.ExitStack() as held:
        pids, left = set(), []
        for _ in range(5):  # default_pool_size: each of the server's connections
            connection = psycopg.connect(
                host=url.host,
                port=url.port,
                user=url.username,
                password=url.password,
                dbname="shop",
                prepare_threshold=None,
            )
            held.callback(connection.close)
            pids.add(connection.execute("SELECT pg_backend_pid()").fetchone())
            statements = "SELECT statement FROM pg_prepared_statements"
            left += connection.execute(statements).fetchall()
        assert len(pids) == 5
        assert left == []


# Secrets


@pytest.mark.parametrize(
    "arguments",
    [
        ("--url", f"postgresql+asyncpg://app:{private.PASSWORD}@127.0.0.1/shop"),
        (f"--url=postgresql://app:{private.PASSWORD}@127.0.0.1/shop",),
        (f"postgresql://app:{private.PASSWORD}@127.0.0.1/shop",),
        ("--project", f"postgresql://app:{private.PASSWORD}@127.0.0.1/shop"),
        ("--url", f"postgresql://127.0.0.1/shop?user=app&password={private.PASSWORD}"),
        ("--url-env", VARIABLE, "--connect-arg", f"password={private.PASSWORD}"),
    ],
)
def test_a_password_on_the_command_line_is_refused(
    bench: Bench, arguments: tuple[str, ...]
) -> None:
    ended = warm.completed(
        str(SCRIPTS / "run_toolkit.py"),
        *("connection", *arguments),
        cwd=bench.empty,
        environment=environment(),
    )
    assert ended.returncode == Exit.USAGE
    assert ended.stderr.count("\n") == 1
    assert "--url-env NAME" in ended.stderr
    assert not [secret for secret in SECRETS if secret in ended.stdout + ended.stderr]


def test_a_url_without_password_may_be_an_argument(bench: Bench) -> None:
    path = bench.file()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE one (id int)")
    ended = call(Run(None, ("--url", f"sqlite+aiosqlite:///{path}"), by_name=False), bench.empty)
    assert ended.code == 0, ended.out + ended.err


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc here")
def test_the_password_is_not_in_the_process_list(bench: Bench) -> None:
    """Of the door, of its worker that imports the project, or of anything they start."""
    shop = bench.shop(
        config="import os\nimport time\n\ntime.sleep(0.5)\n\n\nclass Settings:\n"
        '    database_url = os.environ["SHOP_URL"]\n\n\nsettings = Settings()\n'
    )
    lines: set[str] = set()
    with listener(None) as port:
        process = subprocess.Popen(
            ["bash", str(DOOR), "--url-from", "app.config:settings.database_url", "--timeout", "4"],
            cwd=shop.root,
            env={**environment(), "SHOP_URL": bench.url(port=port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        while process.poll() is None:
            lines |= command_lines()
            time.sleep(0.02)
        out, err = process.communicate()
    assert process.returncode == Exit.NETWORK, out + err
    assert any("run_toolkit.py" in line for line in lines)
    assert any("source_worker.py" in line for line in lines)
    for text in (*lines, out, err):
        assert not [secret for secret in SECRETS[:3] if secret in text]


def command_lines() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.add(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


def test_settings_that_do_not_end(bench: Bench) -> None:
    """A timeout, with a next step that works; not an unset URL (#12)."""
    slow = "import os\nimport time\n\nif 'SLOW' in os.environ:\n    time.sleep(3600)\n"
    shop = bench.shop(config=f"{slow}database_url = os.environ['SHOP_URL']\n")
    variables = {"SHOP_URL": bench.url(), "SLOW": "1"}
    options = ("--url-from", "app.config:database_url", "--timeout", "1")
    ended = call(Run(None, options, by_name=False, environment=variables), shop.root)
    assert ended.code == Exit.NETWORK
    assert "took longer than 1 s" in ended.out
    assert "--url-env NAME" in ended.out
    named = Run(None, ("--url-env", "SHOP_URL"), by_name=False, environment=variables)
    assert call(named, shop.root).code == 0


def test_reading_the_source_is_not_the_databases_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of its own: an hour of reading leaves the 5 seconds whole (#12)."""
    now = [1000.0]
    seen: list[float] = []

    def slow_reading(_: object) -> None:
        now[0] += 3600

    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(command, "find_project", slow_reading)
    monkeypatch.setattr(command, "go_down", lambda _t, expected, _f: seen.append(expected.deadline))
    options = command.parser().parse_args(["--url", "sqlite+aiosqlite:///x.db", "--timeout", "5"])
    command.run(options)
    assert seen == [1000 + 3600 + 5]


def test_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever layer was under way: it is a timeout, and no refused login (#12)."""
    found = command.Found([ok(Layer.SOURCE, "x", ())])
    with pytest.raises(Broken) as broken:
        command.out_of_time(found)
    assert broken.value.step.exit_code == Exit.NETWORK
    assert "--timeout" in broken.value.step.next
    command.parser().parse_args(["--timeout", "60"])


def test_what_is_pasted_is_not_shown(bench: Bench) -> None:
    """In a terminal, whose echo would show it."""
    spawn = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    process = subprocess.Popen(
        [sys.executable, "-c", spawn, "bash", str(DOOR), "--url-stdin"],
        cwd=bench.empty,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    url = f'DATABASE_URL="{bench.url(port=private.free_port())}"'
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        seen = b""
        while b"it is not shown" not in seen:
            byte = process.stdout.read(1)
            assert byte, seen
            seen += byte
        process.stdin.write(url.encode() + b"\n")
        process.stdin.flush()
        rest = process.stdout.read()
    assert process.returncode == Exit.NETWORK, rest
    assert b"Nothing listens" in rest
    assert not [secret for secret in SECRETS if secret.encode() in seen + rest]


def test_a_piped_url(bench: Bench) -> None:
    process = start(bench, "--url-stdin", "--json")
    out, err = process.communicate(bench.url(port=private.free_port()) + "\n", timeout=60)
    assert process.returncode == Exit.NETWORK, out + err
    assert json.loads(out)["layer"] == "network"


def test_the_masker_knows_every_form() -> None:
    masker = Masker()
    masker.learn("postgresql://app:on@e/tw#o?th%20ree@db.example.com:5432/shop?password=f%26our")
    text = masker(
        "on@e/tw#o?th%20ree; th ree; connection to 'e/tw#o' failed; {'password': 'f&our'};"
        " postgresql://app:else@host/shop; user app at db.example.com"
    )
    for secret in ("on@e", "th ree", "th%20ree", "f&our", "f%26our", "else"):
        assert secret not in text
    assert "user app at db.example.com" in text


def test_a_password_like_the_user_does_not_blank_out_the_report() -> None:
    masker = Masker()
    masker.learn("postgresql://postgres:postgres@localhost/postgres")
    assert masker("role postgres on PostgreSQL") == "role postgres on PostgreSQL"
    assert "***" in masker("postgresql://postgres:postgres@localhost/postgres")


# Projects


def test_the_url_of_a_settings_object_and_its_env_file(bench: Bench) -> None:
    shop = bench.shop(
        config="from pydantic import PostgresDsn\n"
        "from pydantic_settings import BaseSettings, SettingsConfigDict\n\n\n"
        "class Settings(BaseSettings):\n"
        '    model_config = SettingsConfigDict(env_file=".env")\n'
        "    dsn: PostgresDsn\n\n\nsettings = Settings()\n",
        db="from sqlalchemy.ext.asyncio import create_async_engine\n"
        "from sqlalchemy.orm import DeclarativeBase\n\nfrom app.config import settings\n\n"
        "engine = create_async_engine(str(settings.dsn), pool_size=3, max_overflow=1)\n\n\n"
        "class Base(DeclarativeBase):\n    pass\n",
        main="from fastapi import FastAPI\n\napi = FastAPI()\n",
    )
    shop.write(".env", f"DSN={bench.url(port=private.free_port())}\n")
    ended = call(Run(None, cwd=shop.root, by_name=False), bench.empty, "--json")
    assert ended.code == Exit.NETWORK, ended.out + ended.err
    assert "app.config:settings.dsn" in ended.step("source")["message"]


def test_a_project_that_names_no_variable_uses_the_usual_one(bench: Bench, tmp_path: Path) -> None:
    """As setup-alembic.sh does (#16)."""
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (tmp_path / "requirements.txt").write_text("fastapi\n")
    lost = call(Run(None, cwd=tmp_path, by_name=False), bench.empty, "--json")
    assert lost.step("source")["message"] == "Nothing in the project names a database URL."
    variables = {"DATABASE_URL": f"sqlite+aiosqlite:///{bench.file()}"}
    run = Run(None, cwd=tmp_path, by_name=False, environment=variables)
    ended = call(run, bench.empty, "--json")
    assert ended.step("source")["message"] == "the environment variable DATABASE_URL"
    assert ended.step("driver")["status"] == "ok"


@pytest.mark.parametrize("form", ["{}  # the shop's", "'{}' # the shop's", '"{}"', "{}\r"])
def test_seed_45_every_form_of_an_env_file(bench: Bench, form: str) -> None:
    """And what this process has in its environment comes before it."""
    shop = bench.shop(main="from fastapi import FastAPI\n\napi = FastAPI()\n")
    url = bench.url(port=private.free_port())
    shop.write(
        ".env",
        "HOSTS=[\"a b\", 'c']\n  # indented\nWHOSE=it's\nNAME=two words; and $more\n"
        f"DATABASE_URL={form.format(url)}\nLAST=1\n",
    )
    ended = call(Run(None, cwd=shop.root, by_name=False), bench.empty, "--json")
    assert ended.code == Exit.NETWORK, ended.out + ended.err
    assert "two words" not in ended.out + ended.err
    environment = {"DATABASE_URL": bench.url()}
    run = Run(None, cwd=shop.root, by_name=False, environment=environment)
    there = call(run, bench.empty, "--json")
    assert there.step("login")["status"] == "ok", there.out


def test_seed_47_nothing_is_left_in_temporary_folders(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run = Run(bench.url(port=private.free_port()), environment={"TMPDIR": str(tmp_path)})
    assert call(replace(run, apart=True), bench.empty).code == Exit.NETWORK
    assert list(tmp_path.iterdir()) == []


def test_without_project_or_option_database_url_is_taken(bench: Bench) -> None:
    run = Run(bench.url(port=private.free_port()), variable="DATABASE_URL", by_name=False)
    assert call(run, bench.empty).code == Exit.NETWORK
    ended = call(Run(None, by_name=False), bench.empty, "--json")
    assert ended.code == Exit.NO_PROJECT
    assert ended.document["status"] == "refused"


def test_a_project_that_does_not_import_is_said(bench: Bench) -> None:
    shop = bench.shop(config='raise RuntimeError("no vault")\n\n\nclass Settings:\n    url = ""\n')
    run = Run(None, ("--url-from", "app.config:Settings.url"), shop.root, by_name=False)
    ended = call(run, bench.empty, "--json")
    assert ended.code == Exit.URL
    assert "RuntimeError: no vault" in str(ended.step("source")["evidence"])


@pytest.mark.parametrize(
    ("product", "version", "year"),
    [
        ("PostgreSQL", "15.18 (Debian 15.18-0+deb12u1)", 2027),
        ("PostgreSQL", "9.6.24", 2021),
        ("MySQL", "8.0.36", 2026),
        ("MariaDB", "10.11.19", 2028),
        ("PostgreSQL", "99.1", None),
    ],
)
def test_end_of_life(product: str, version: str, year: int | None) -> None:
    found = end_of_life(product, version)
    assert (found.year if found else None) == year
