"""Alembic commands one after another in a project, and where they end; run there as a program.

    python driver.py FOLDER_OF_SCRIPTS ANSWER_FILE STEP...

Each step is done as the command line does it, in one process: to start Python for each would cost
ten times as much. Writes `{"failed": step, "why": text}` as JSON; "" where all went well.
"""

import argparse
import asyncio
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool


def config(*, autogenerate: bool = False) -> Config:
    # With options, as from a command line: env.py may do less for an application's call.
    options = argparse.Namespace(autogenerate=autogenerate, x=None)
    return Config("alembic.ini", cmd_opts=options, stdout=io.StringIO())


def schema(scripts: str) -> Any:
    """What the database's own catalogs say."""
    sys.path.append(scripts)
    from toolkit.database.catalog import read_catalog

    def read(connection: Connection) -> Any:
        return read_catalog(connection)

    url = Path("url").read_text(encoding="utf-8")

    async def ask() -> Any:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            found = await connection.run_sync(read)
        await engine.dispose()
        return found

    return asyncio.run(ask())


def carry_out(step: str, scripts: str) -> None:
    name, _, argument = step.partition(":")
    if name == "revision":
        command.revision(config(autogenerate=True), argument, autogenerate=True)
    elif name == "upgrade":
        command.upgrade(config(), "head")
    elif name == "downgrade":
        if not [*Path("alembic/versions").glob("*_two.py")]:
            return  # nothing was seen, and ours then writes no revision
        command.downgrade(config(), argument)
    elif name == "check":
        command.check(config())
    elif name == "again":
        for path in Path("alembic/versions").glob(f"*_{argument}.py"):
            text = path.read_text(encoding="utf-8")
            if "op." in text.partition("def upgrade")[2]:
                raise AssertionError(f"one more revision is not empty:\n{text}")
            path.unlink()
    elif name == "keep":
        Path(argument).write_text(json.dumps(schema(scripts), default=str), encoding="utf-8")
    elif name == "same":
        from toolkit.database.catalog import round_trip

        before, between = (
            json.loads(Path(file).read_text(encoding="utf-8")) for file in argument.split(",")
        )
        after = json.loads(json.dumps(schema(scripts), default=str))
        if left := round_trip(before, between, after):
            raise AssertionError(f"the downgrade leaves another schema: {left}")
    else:
        raise ValueError(step)


def main() -> None:
    scripts, answer, *steps = sys.argv[1:]
    result = {"failed": "", "why": ""}
    for step in steps:
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                carry_out(step, scripts)
        except BaseException as error:  # Alembic's command line ends with SystemExit
            result = {"failed": step.partition(":")[0], "why": f"{type(error).__name__}: {error}"}
            break
    Path(answer).write_text(json.dumps(result), encoding="utf-8")


main()
