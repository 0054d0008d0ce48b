"""Evaluate expressions of a project and hand their text to the program that asked.

Run by path, in a process of its own, with a JSON request on standard input:
`{root, import_root, references: ["module:expression"], engines: ["module"]}`; `engines` asks for
the pools of the engines that these modules make, as JSON under "engines". Imports nothing of this
toolkit, because a project may have a package of the same name. The answer goes to what was standard
output, which is a pipe: a file would keep the password. What the project prints goes nowhere.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

LOADING = Path(__file__).resolve().parents[1] / "fence" / "loading.py"


def main() -> None:
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    request = json.load(sys.stdin)
    sys.dont_write_bytecode = True
    runpy.run_path(str(LOADING))["enter_to_import"](request)
    answers = {reference: evaluate(reference) for reference in request["references"]}
    if modules := request.get("engines"):
        answers["engines"] = engines_of(modules)
    with os.fdopen(answer, "w", encoding="utf-8") as pipe:
        json.dump(answers, pipe)
    # Threads that the project started must not keep this process alive.
    os._exit(0)


def evaluate(reference: str) -> dict[str, str]:
    """`{"value": text}`, or `{"type": ..., "message": ...}` of what went wrong."""
    module, _, expression = reference.partition(":")
    try:
        names = vars(importlib.import_module(module))
        # The expression stands in the project's source, or on the user's command line.
        return {"value": text_of(eval(expression, dict(names)))}  # noqa: S307
    # A module may call sys.exit, which is as much of a failure as any other.
    except BaseException as error:
        return {"type": type(error).__name__, "message": message_of(error)}


def engines_of(modules: list[str]) -> dict[str, str]:
    """The pools of what the application has made when it is imported, or would make at its start.

    An engine connects to nothing when it is made.
    """
    try:
        imported = [importlib.import_module(module) for module in modules]
        from sqlalchemy import Engine  # noqa: PLC0415  # the project has it, or not

        found = [one for one in gc.get_objects() if isinstance(one, Engine)]
        found = found or [one for module in imported for one in made_at_start(vars(module))]
        asynchronous = [one for one in found if one.dialect.is_async]
        return {"value": json.dumps([numbers(one.pool) for one in asynchronous or found])}
    except BaseException as error:
        return {"type": type(error).__name__, "message": message_of(error)}


def made_at_start(names: dict[str, Any]) -> list[Any]:
    """The engine of this skill's session_manager.py, which the lifespan makes."""
    state = getattr(getattr(names.get("app"), "state", None), "_state", {})
    for value in state.values():
        build = getattr(sys.modules.get(type(value).__module__), "build_engine", None)
        if build is not None and hasattr(value, "config"):
            return [build(value.config).sync_engine]
    config, build = names.get("database_config"), names.get("build_engine")
    return [build(config()).sync_engine] if callable(config) and callable(build) else []


def numbers(pool: Any) -> dict[str, Any]:  # noqa: ANN401
    """By the names of create_engine's arguments; a pool has what its kind knows."""
    size = getattr(pool, "size", None)
    return {
        "kind": type(pool).__name__,
        "pool_size": size() if callable(size) else None,
        "max_overflow": getattr(pool, "_max_overflow", None),
        "pool_timeout": getattr(pool, "_timeout", None),
        "pool_recycle": getattr(pool, "_recycle", None),
    }


def text_of(value: Any) -> str:  # noqa: ANN401
    """The text of a URL, whatever class it has: str, pydantic's, SQLAlchemy's, a secret."""
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if hasattr(value, "render_as_string"):
        return str(value.render_as_string(hide_password=False))
    return "" if value is None else str(value)


def message_of(error: BaseException) -> str:
    """The error's text; of pydantic's without the values that it was given."""
    list_errors = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and callable(list_errors):
        with contextlib.suppress(Exception):
            return "; ".join(
                f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
                for one in list_errors(include_input=False, include_context=False)
            )
    return str(error)


if __name__ == "__main__":
    main()
