"""Run in a copy of the forum: what requests cost. A path on each line of stdin, JSON on stdout."""

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

import httpx
from app.main import app, lifespan
from sqlalchemy import Engine, event

RUNS = 2


class Meter:
    """Counts the statements of all engines, and the time in the database."""

    def __init__(self) -> None:
        self.statements = 0
        self.seconds = 0.0
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)

    def _before(self, *_: object) -> None:
        self._began = time.perf_counter()

    def _after(self, *_: object) -> None:
        self.statements += 1
        self.seconds += time.perf_counter() - self._began


async def cost(client: httpx.AsyncClient, meter: Meter, path: str) -> dict[str, float]:
    """Statements, milliseconds in the database and of the whole request: the least of RUNS."""
    measured = []
    for _ in range(RUNS):
        meter.statements, meter.seconds = 0, 0.0
        started = time.perf_counter()
        response = await client.get(path)
        whole = time.perf_counter() - started
        measured.append((meter.statements, meter.seconds * 1000, whole * 1000))
    counts, inside, outside = zip(*measured, strict=True)
    return {
        "status": response.status_code,
        "statements": min(counts),
        "database_ms": min(inside),
        "ms": min(outside),
    }


async def main() -> None:
    meter = Meter()
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://forum", timeout=60) as client,
    ):
        for line in sys.stdin:
            print(json.dumps(await cost(client, meter, line.strip())), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
