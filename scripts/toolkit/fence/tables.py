"""`create_all` at the end of a module, as FastAPI's tutorial has it: not while it is imported.

On the scratch database it would make what the migrations are to make; elsewhere there is
nothing to make it on.
"""

# ruff: noqa: ANN401  (SQLAlchemy's arguments)

import os
from collections.abc import Callable, Sequence
from typing import Any

from .hook import frames


def only_when_asked(except_in: Sequence[str]) -> None:
    """Let `create_all(engine)` and `drop_all(engine)` in a module's own lines do nothing.

    `except_in`: folders of env.py and the revisions, which may mean it.
    """
    try:
        from sqlalchemy import Engine, MetaData  # noqa: PLC0415
    except ImportError:
        return

    def unless_importing(function: Callable[..., None]) -> Callable[..., None]:
        def call(self: Any, bind: Any, *arguments: Any, **options: Any) -> None:
            if not (isinstance(bind, Engine) and is_importing(except_in)):
                function(self, bind, *arguments, **options)

        return call

    MetaData.create_all = unless_importing(MetaData.create_all)  # type: ignore[method-assign]
    MetaData.drop_all = unless_importing(MetaData.drop_all)  # type: ignore[method-assign]


def is_importing(except_in: Sequence[str]) -> bool:
    """Is the innermost module whose lines are running none of `except_in`?"""
    for frame in frames():
        if frame.f_code.co_name == "<module>":
            path = os.path.realpath(frame.f_code.co_filename)
            return not any(path.startswith(folder + os.sep) for folder in except_in)
    return False
