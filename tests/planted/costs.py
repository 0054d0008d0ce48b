"""What requests of the planted application cost, before its faults are cured and afterwards."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planted import judging
from projects import warm

Cost = dict[str, float]
REPLAY = judging.FORUM.with_name("replay.py")
FEW, MANY = 10, 300
GROWING = {
    # Where the number of rows comes from in the request.
    "/posts?limit={}": (FEW, MANY),
    "/comments/latest?limit={}": (FEW, MANY),
    "/comments/visible?user_id=1&limit={}": (FEW, MANY),
    "/users/digest?limit={}": (FEW, MANY),
    "/moderation/latest?size={}": (FEW, MANY),
    "/categories/overview?posts={}": (2, 25),
    # One answer is to post 6008, hundreds are to post 10.
    "/posts/{}/thread": (6008, 10),
}
RUN_DDL = """
import asyncio, sys
from sqlalchemy import text
from app.db import engine
async def main():
    async with engine.begin() as connection:
        for statement in [*sys.argv[1:], "ANALYZE"]:
            await connection.execute(text(statement))
    await engine.dispose()
asyncio.run(main())
"""


def proposed(findings: list[dict[str, Any]]) -> list[str]:
    """The DDL of the findings, which here need not leave others alone."""
    texts = [one["fix"]["text"] for one in findings if (one["fix"] or {}).get("index")]
    statements = [part.strip() for text in texts for part in text.split(";\n")]
    made = [one.rstrip(";").replace(" CONCURRENTLY", "") for one in statements]
    return list(dict.fromkeys(one for one in made if one and not one.startswith("--")))


@contextmanager
def replaying(project: Path, url: str) -> Iterator[Callable[[str], Cost]]:
    """Give a path, get what a request of it costs."""
    process = subprocess.Popen(
        [warm.python(), str(REPLAY)],
        cwd=project,
        env={**os.environ, "DATABASE_URL": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(path: str) -> Cost:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        return dict(json.loads(process.stdout.readline()))

    with process:
        yield ask
