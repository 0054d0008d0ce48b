"""Import a project's modules and write down which tables exist afterwards.

Run by path, in a process of its own, with a JSON request on standard input (see
prove.py). Imports nothing of this toolkit, because a project may have a package
of the same name.
"""

import importlib
import json
import os
import runpy
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import MetaData
    from sqlalchemy.orm import Mapper

T = TypeVar("T")
TOOLKIT = Path(__file__).resolve().parents[1]
SCRIPTS = TOOLKIT.parent  # ours, also where they lie in the project


def main() -> None:
    """Read the request, import, write the answer to the file that it names."""
    request = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a project may print
    root = Path(request["root"])
    sys.dont_write_bytecode = True
    mask = masker_of(root)
    runpy.run_path(str(TOOLKIT / "fence" / "loading.py"))["enter_to_import"](request)
    answer = Importer(root, mask).run(request["modules"], request["metadata"])
    target = Path(request["answer"])
    target.write_text(json.dumps(answer), encoding="utf-8")
    # Threads that the project started must not keep this process alive.
    os._exit(0)


def masker_of(root: Path) -> Callable[[str], str]:
    """The toolkit's own, loaded by its path. It knows the environment and the settings files."""
    made = runpy.run_path(str(TOOLKIT / "report" / "masking.py"))["Masker"]()
    made.learn_environment(os.environ)
    made.learn_folder(root)
    mask: Callable[[str], str] = made
    return mask


class Importer:
    """Imports modules one by one; a failure is written down, the rest goes on."""

    def __init__(self, root: Path, mask: Callable[[str], str]) -> None:
        self.root = root
        self.mask = mask
        self.errors: list[dict[str, Any]] = []
        self.mappers: list[Mapper[object]] = []

    def run(self, modules: list[str], metadata: list[dict[str, str]]) -> dict[str, Any]:
        """`modules` by name; `metadata` as `{reference, module, name}`."""
        self.listen()
        for name in modules:
            self.attempt(name, partial(importlib.import_module, name))
        tables: dict[str, list[str]] = {}
        for source in metadata:
            found = self.attempt(source["module"], partial(load, source))
            if found is not None:
                tables[source["reference"]] = sorted(found.tables)
        return {
            "tables": tables,
            "classes": {class_name(mapper.class_): table_name(mapper) for mapper in self.mappers},
            "errors": self.errors,
            "mapper_error": self.configure(),
        }

    def listen(self) -> None:
        """Note every mapper from now on, whichever base or registry makes it."""

        def sqlalchemy_events() -> None:
            # Here, because whether the project has SQLAlchemy is one of the questions.
            from sqlalchemy import event  # noqa: PLC0415
            from sqlalchemy.orm import Mapper  # noqa: PLC0415

            def note(mapper: "Mapper[object]", class_: type) -> None:
                self.mappers.append(mapper)

            event.listen(Mapper, "after_mapper_constructed", note)

        self.attempt("sqlalchemy", sqlalchemy_events)

    def configure(self) -> str | None:
        """Resolve all relationships; the first error as text."""
        if self.errors:
            return None
        try:
            from sqlalchemy.orm import configure_mappers  # noqa: PLC0415

            configure_mappers()
        except Exception as error:
            return self.mask(f"{type(error).__name__}: {error}")
        return None

    def attempt(self, module: str, action: Callable[[], T]) -> T | None:
        """The result of `action`, None when it failed (once for each cause)."""
        try:
            return action()
        # A module may call sys.exit, which is as much of a failure as any other.
        except BaseException as error:
            failure = self.describe(module, error)
            known = [{**item, "module": module} for item in self.errors]
            if failure not in known:
                self.errors.append(failure)
            return None

    def describe(self, module: str, error: BaseException) -> dict[str, Any]:
        path, line = self.position(error)
        return {
            "module": module,
            "path": path,
            "line": line,
            "type": type(error).__name__,
            "message": self.mask(str(error)).strip(),
        }

    def position(self, error: BaseException) -> tuple[str | None, int]:
        """The innermost line of the project's own code that led to the error."""
        if isinstance(error, SyntaxError) and error.filename:
            return error.filename, error.lineno or 0
        own: tuple[str | None, int] = (None, 0)
        for frame in traceback.extract_tb(error.__traceback__):
            path = Path(frame.filename)
            inside = self.root in path.parents and "site-packages" not in path.parts
            if inside and SCRIPTS not in path.resolve().parents:
                own = (frame.filename, frame.lineno or 0)
        return own


def load(source: dict[str, str]) -> "MetaData":
    """The MetaData behind `module:name`."""
    found = getattr(importlib.import_module(source["module"]), source["name"])
    metadata: MetaData = getattr(found, "metadata", found)  # a base may have `tables` (#12)
    return metadata


def class_name(class_: type) -> str:
    return f"{class_.__module__}:{class_.__qualname__}"


def table_name(mapper: "Mapper[object]") -> str | None:
    """Full name of the mapped table, None for a mapped join or subquery."""
    name = getattr(mapper.local_table, "fullname", None)
    return None if name is None else str(name)


if __name__ == "__main__":
    main()
