"""Carry out the blocks of one document, in a project and on a database.

A program of its own (`python carry_out.py ORDER ANSWER`, both JSON): the blocks share one
namespace and one event loop, as in `python -m asyncio`, and leave nothing behind.
"""

import asyncio
import configparser
import contextlib
import importlib
import inspect
import io
import json
import os
import re
import sys
import tomllib
import traceback
import types
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from pathlib import Path
from typing import Any

import yaml

Block = dict[str, Any]


class WrongError(Exception):
    """A block did not do what the document says."""


async def main(order: dict[str, Any]) -> dict[str, Any]:
    module = types.ModuleType("document")
    module.__dict__["__package__"] = order["package"]
    sys.modules["document"] = module
    done: list[int] = []
    async with contextlib.AsyncExitStack() as stack:
        if order["database"]:
            module.__dict__.update(await open_database(stack))
        for block in order["blocks"]:
            try:
                await carry_out(block, module.__dict__, order)
            except Exception as error:
                text = "".join(traceback.format_exception(error))
                return {"done": done, "failed": block["line"], "error": text}
            done.append(block["line"])
    return {"done": done, "failed": None, "error": ""}


async def open_database(stack: contextlib.AsyncExitStack) -> dict[str, Any]:
    """The names that every reference may use: an open manager, and a session of it."""
    from app.db.base_model import Base  # type: ignore[import-not-found]
    from app.db.models import seed  # type: ignore[import-not-found]
    from app.db.session_manager import (  # type: ignore[import-not-found]
        DatabaseConfig,
        DatabaseSessionManager,
    )

    database = await stack.enter_async_context(DatabaseSessionManager(DatabaseConfig.from_env()))
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with database.begin() as session:
        await seed(session)
    session = await stack.enter_async_context(database.session())
    return {"database": database, "session": session}


async def carry_out(block: Block, names: dict[str, Any], order: dict[str, Any]) -> None:
    if block["file"]:
        write_file(block)
        return
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            await RUN[block["language"]](block, names, order)
    except Exception as error:
        if not block["symptom"]:
            raise
        compare_symptom(block["symptom"], error)
        if "session" in names:
            await names["session"].rollback()
        return
    if block["symptom"]:
        raise WrongError(f"it should raise {block['symptom']}, and ran")
    if block["expected"] is not None:
        compare_output(block["expected"], printed.getvalue())


def write_file(block: Block) -> None:
    path = Path(block["file"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block["source"], encoding="utf-8")
    if path.suffix == ".py" and path.parts[0] != "tests":
        name = ".".join(path.with_suffix("").parts)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        importlib.import_module(name)


async def run_python(block: Block, names: dict[str, Any], _order: dict[str, Any]) -> None:
    # Empty lines in front: a traceback then has the document's own numbers.
    source = "\n" * (block["line"] - 1) + block["source"]
    code = compile(source, block["path"], "exec", flags=PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = types.FunctionType(code, names)()
    if inspect.iscoroutine(result):
        await result


async def run_bash(block: Block, _names: dict[str, Any], order: dict[str, Any]) -> None:
    await run_script(block["source"], order)


async def run_script(script: str, order: dict[str, Any]) -> None:
    for placeholder, value in order["placeholders"].items():
        script = script.replace(placeholder, value)
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        script,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **order["environment"]},
    )
    out, err = await process.communicate()
    print(out.decode(), end="")
    if process.returncode != 0:
        raise WrongError(f"exit code {process.returncode}\n{out.decode()}{err.decode()}")


async def run_sql(block: Block, names: dict[str, Any], _order: dict[str, Any]) -> None:
    """Each statement by itself, outside of a transaction: some refuse to run in one."""
    async with names["database"].engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in re.split(r";\s*$", block["source"], flags=re.MULTILINE):
            if statement.strip():
                result = await connection.exec_driver_sql(statement)
                if result.returns_rows:
                    for row in result:
                        print(" | ".join(str(value) for value in row))


async def run_ini(block: Block, _names: dict[str, Any], _order: dict[str, Any]) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(block["source"])
    if not parser.sections():
        raise WrongError("an ini without a section")


async def run_toml(block: Block, _names: dict[str, Any], _order: dict[str, Any]) -> None:
    tomllib.loads(block["source"])


async def run_yaml(block: Block, _names: dict[str, Any], order: dict[str, Any]) -> None:
    """The steps of a build server are carried out; hooks for pre-commit have to be ours."""
    found = yaml.safe_load(block["source"])
    if isinstance(found, dict):
        skill = Path(order["placeholders"]["<skill>"])
        offered = yaml.safe_load((skill / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
        (repository,) = found["repos"]
        if {hook["id"] for hook in repository["hooks"]} != {hook["id"] for hook in offered}:
            raise WrongError("a hook that .pre-commit-hooks.yaml does not offer")
        return
    commands = [step["run"] for step in found if "run" in step]
    if not commands:
        raise WrongError("steps that run nothing")
    for command in commands:
        await run_script(command, order)


RUN = {
    "python": run_python,
    "bash": run_bash,
    "sql": run_sql,
    "ini": run_ini,
    "toml": run_toml,
    "yaml": run_yaml,
}


def compare_symptom(symptom: str, error: BaseException) -> None:
    name, _, words = (part.strip() for part in symptom.partition(":"))
    names = [kind.__name__ for kind in type(error).__mro__]
    # SQLAlchemy 2.1 wraps some: `StatementError: (sqlalchemy.exc.MissingGreenlet) ...`.
    wrapped = f".{name}) " in str(error)
    if not (name in names or wrapped) or words not in str(error):
        said = f"{type(error).__name__}: {error}"
        raise WrongError(f"it should raise {symptom}, and raised {said}") from error


def compare_output(expected: str, printed: str) -> None:
    def tidy(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())

    pattern = ".*?".join(re.escape(part) for part in tidy(expected).split("..."))
    if not re.fullmatch(pattern, tidy(printed), re.DOTALL):
        raise WrongError(f"the document shows\n{expected}\nand it printed\n{printed}")


if __name__ == "__main__":
    order_file, answer_file = sys.argv[1:]
    sys.path[0] = os.getcwd()  # noqa: PTH109  (the project, not this program's folder)
    answer = asyncio.run(main(json.loads(Path(order_file).read_text(encoding="utf-8"))))
    Path(answer_file).write_text(json.dumps(answer), encoding="utf-8")
