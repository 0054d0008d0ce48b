"""What observability.py adds to a request, in pairs: `make bench` runs it after the sessions.

    python tests/benchmarks/bench_observing.py [--pairs 60] [--requests 100]

The two peers `db_session` and `observed` in one process, called as a server calls them, in turns of
a hundred requests; CPU of this process, user and system. A difference of a few percent is lost
between two servers under load, whose rounds differ by ten. Writes results/observing.md.
"""

import argparse
import asyncio
import contextlib
import datetime
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests"), str(HERE.parents[1] / "scripts")]

from bench_sessions import fill  # noqa: E402

from servers import postgres  # noqa: E402


async def one_request(app: Any, number: int) -> None:
    """GET /customers/{number}, which has to be 200."""
    path = f"/customers/{number}"
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET"},
        **{"scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b""},
        **{
            "headers": [(b"host", b"shop")],
            "root_path": "",
            "client": None,
            "server": ("shop", 80),
        },
    }
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    assert status == 200, status


async def microseconds(app: Any, requests: int) -> float:
    started = time.process_time()
    for number in range(requests):
        await one_request(app, number + 1)
    return (time.process_time() - started) / requests * 1e6


async def measure(pairs: int, requests: int) -> str:
    import session_peers

    plain, observed = session_peers.db_session(), session_peers.observed()
    taken: list[tuple[float, float]] = []
    async with contextlib.AsyncExitStack() as stack:
        for app in (plain, observed):
            await stack.enter_async_context(app.router.lifespan_context(app))
            await microseconds(app, requests)
        for pair in range(pairs):
            if pair % 2:
                second = await microseconds(observed, requests)
                taken.append((await microseconds(plain, requests), second))
            else:
                first = await microseconds(plain, requests)
                taken.append((first, await microseconds(observed, requests)))
    percent = sorted((after / before - 1) * 100 for before, after in taken)
    low, middle, high = statistics.quantiles(percent, n=4)
    without, with_it = (statistics.median(column) for column in zip(*taken, strict=True))
    return (
        f"{without:.0f} us of CPU a request without, {with_it:.0f} us with observability.py: "
        f"{middle:+.1f} % (half of {pairs} pairs between {low:+.1f} and {high:+.1f} %)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--requests", type=int, default=100)
    chosen = parser.parse_args()
    with postgres.running_postgres() as server:
        fill(server)
        os.environ["DATABASE_URL"] = server.url("bench")
        said = asyncio.run(measure(chosen.pairs, chosen.requests))
    print(said)
    heading = (
        "# What observability.py costs\n\n"
        "By `make bench`: each request counted and timed, with the header, none slow or traced."
    )
    date = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, Python {platform.python_version()}"
    (HERE / "results" / "observing.md").write_text(f"{heading}\n{date}\n\n{said}\n")


if __name__ == "__main__":
    main()
