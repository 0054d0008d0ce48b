"""Have schemathesis look for a 5xx of examples/fastapi_app.py: `make api`.

    python tests/benchmarks/fuzz_api.py [MAX_EXAMPLES]

It reads the service's OpenAPI document and sends what fits it, and what does not.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("tests", "templates", "examples")]

from base_model import Base
from servers.private import free_port
from session_manager import DatabaseConfig, DatabaseSessionManager
from user_model import seed


async def fill(url: str) -> None:
    async with DatabaseSessionManager(DatabaseConfig(url)) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with database.begin() as session:
            await seed(session)


def main() -> int:
    examples = sys.argv[1] if len(sys.argv) > 1 else "200"
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
