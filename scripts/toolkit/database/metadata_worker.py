"""Which of a project's metadatas its env.py hands to Alembic. Loaded by alembic_worker.py."""

# ruff: noqa: ANN401  (a project's objects)

import ast
import contextlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from sqlalchemy import MetaData


def metadata_behind(reference: str) -> MetaData | None:
    """The object behind `module:name`, where that module was imported."""
    module, _, name = reference.partition(":")
    found = getattr(sys.modules.get(module), name, None)
    found = getattr(found, "metadata", found)
    return found if isinstance(found, MetaData) else None


def flat(target: Any) -> list[MetaData]:
    """What `target_metadata` holds: one, or several."""
    if isinstance(target, dict):
        target = list(target.values())
    found = target if isinstance(target, (list, tuple, set, frozenset)) else [target]
    return [one for one in found if isinstance(one, MetaData)]


def among(references: Iterable[str], targets: Sequence[MetaData]) -> list[str]:
    """Those that are handed over: themselves, else those that tables were copied from."""
    there = {one: found for one in references if (found := metadata_behind(one)) is not None}
    themselves = [one for one, found in there.items() if any(found is own for own in targets)]
    names = {name for target in targets for name in target.tables}
    return themselves or [one for one, found in there.items() if names & found.tables.keys()]


def given(env: str) -> list[CodeType]:
    """What env.py's source says as `target_metadata=`, to be evaluated where it is known."""
    tree = ast.parse(Path(env).read_bytes())
    values = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "target_metadata"
    ]
    return [compile(ast.Expression(value), env, "eval") for value in values]


class Listener:
    """Notes what a run of env.py has for Alembic, as far as it comes."""

    def __init__(self, env: Path) -> None:
        self.env = str(env.absolute())  # as code that was imported is called
        self.targets: list[MetaData] = []
        original = EnvironmentContext.configure

        def configure(context: EnvironmentContext, *args: Any, **options: Any) -> None:
            self.targets += flat(options.get("target_metadata"))
            original(context, *args, **options)

        EnvironmentContext.configure = configure  # type: ignore[method-assign, assignment]

    def stopped(self, error: BaseException) -> None:
        """It was stopped where it connects, which is before it tells Alembic: what it would say."""
        trace = error.__traceback__
        while trace is not None and not self.targets:
            frame = trace.tb_frame
            if frame.f_code.co_filename == self.env:
                for expression in given(self.env):
                    with contextlib.suppress(Exception):  # a name of another function, say
                        self.targets += flat(eval(expression, frame.f_globals, frame.f_locals))  # noqa: S307
            trace = trace.tb_next
