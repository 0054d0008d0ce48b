"""Have Hypothesis and schemathesis look for what the examples do wrong: `make api`.

    python tests/benchmarks/fuzz_api.py [MAX_EXAMPLES]

Hypothesis sends texts and numbers through the queries, filters and sorts, with the properties of
tests/examples/test_security.py. Schemathesis reads the OpenAPI document of examples/fastapi_app.py,
and looks for a 5xx among the answers to what fits it, and what does not.
"""

import asyncio
import importlib.util
import itertools
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("tests", "templates", "examples")]

from hypothesis import given, settings
from hypothesis import strategies as st

from base_model import Base
from servers.private import free_port
from session_manager import DatabaseConfig, DatabaseSessionManager
from user_model import seed

# By its path: `examples` is another folder for whoever looks for the package.
found = importlib.util.spec_from_file_location(
    "security", ROOT / "tests" / "examples" / "test_security.py"
)
assert found is not None and found.loader is not None
security = importlib.util.module_from_spec(found)
sys.modules["security"] = security
found.loader.exec_module(security)


async def fill(url: str) -> None:
    async with DatabaseSessionManager(DatabaseConfig(url)) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with database.begin() as session:
            await seed(session)


def think_of_more(url: str, examples: int) -> None:
    """Raises AssertionError, with the shortest example, for what is no plain value."""
    with asyncio.Runner() as runner:
        context = security.watched(url)
        watching = runner.run(context.__aenter__())

        async def check(text: str, number: int, name: str) -> None:
            async with watching.database.session() as session:
                await security.check_patterns(watching, session, text + "x")
            async with security.client_of(watching) as client:
                for value, path in itertools.product((text, str(number)), ("/users", "/posts")):
                    answer = await client.get(path, params={name: value})
                    assert answer.status_code in (200, 422), (path, name, value)

        @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
        @given(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40),
            st.integers(),
            st.sampled_from(["text", "role", "sort", "status", "created_after", "cursor", "size"]),
        )
        def check_all(text: str, number: int, name: str) -> None:
            runner.run(check(text, number, name))

        check_all()
        runner.run(context.__aexit__(None, None, None))
        print(f"Hypothesis: {examples} examples, nothing found", flush=True)


def main() -> int:
    examples = sys.argv[1] if len(sys.argv) > 1 else "200"
    with tempfile.TemporaryDirectory() as folder:
        think_of_more(f"sqlite:///{folder}/a.db", int(examples))
    with tempfile.TemporaryDirectory() as folder:
        url, port = f"sqlite:///{folder}/a.db", free_port()
        asyncio.run(fill(url))
        service = ["--app-dir", "examples", "fastapi_app:app", "--log-level", "critical"]
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *service, "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url},
        )
        address = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + 60
            while not answers(address):
                assert time.monotonic() < deadline, "the service does not start"
                time.sleep(0.1)
            command = [Path(sys.executable).with_name("schemathesis"), "run"]
            command += [f"{address}/openapi.json", "--checks", "not_a_server_error"]
            command += ["--max-examples", examples, "--seed", "17", "--phases", "fuzzing,coverage"]
            return subprocess.run(list(map(str, command)), cwd=folder, check=False).returncode
        finally:
            server.terminate()
            server.wait()


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/health/live", timeout=5).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
