"""What a project's code reads and writes with open() while nobody has read it.

Configuration that it reads says nothing of real databases; what it writes (a log file that
is opened when a module is imported) is a file of ours. Only a convenience: the audit hook
refuses what does not come this way.
"""

# ruff: noqa: ANN401  (open's many forms)

import builtins
import contextlib
import io
import os
import shutil
import sys
from typing import Any

from .addresses import Hiding
from .hook import Fence, WritingIsRefused

CONFIGURATION = (".ini", ".toml", ".yaml", ".yml", ".json", ".cfg", ".conf", ".properties", ".env")
LARGEST = 2**20
LARGEST_COPY = 2**24


class Files:
    def __init__(self, fence: Fence, folder: str, hiding: Hiding | None) -> None:
        self.fence = fence
        self.folder = folder
        self.hiding = hiding
        self._open = io.open
        self._mkdir = os.mkdir
        self._instead: dict[str, str] = {}
        self._folders: set[str] = set()
        """Those that were to be made where nothing is."""

    def install(self) -> None:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        builtins.open = io.open = self.open
        os.mkdir = self.mkdir

    def open(self, file: Any, mode: Any = "r", *more: Any, **options: Any) -> Any:
        instead = None
        if isinstance(file, str | bytes | os.PathLike) and isinstance(mode, str):
            instead = self.led(os.path.realpath(os.fsdecode(file)), os.fsdecode(file), mode)
        return self._open(instead or file, mode, *more, **options)

    def mkdir(self, path: Any, *more: Any, **options: Any) -> None:
        """As if it had been made: a folder below the user's home, for data or for logs."""
        try:
            self._mkdir(path, *more, **options)
        except WritingIsRefused:
            if os.path.lexists(path):
                raise
            self._folders.add(os.path.realpath(os.fsdecode(path)))

    def led(self, path: str, given: str, mode: str) -> str | None:
        """The file to open in its place; None for the file itself."""
        if any(letter in mode for letter in "wax+"):
            return None if self.fence.may_write(given) else self.written(path, mode)
        if path in self._instead:
            return self._instead[path]
        return self.hidden(path) if self.hiding and is_configuration(path) else None

    def written(self, path: str, mode: str) -> str | None:
        folder = os.path.dirname(path)
        if not (folder in self._folders or os.path.isdir(folder)) or os.path.isdir(path):
            return None
        if path not in self._instead:
            there = os.path.isfile(path)
            if there and "w" not in mode and os.path.getsize(path) > LARGEST_COPY:
                return None
            self._instead[path] = ours = self.new(path)
            if there and "w" not in mode:
                shutil.copyfile(path, ours)
            self.fence.led_away(path)
        return self._instead[path]

    def hidden(self, path: str) -> str | None:
        """A copy without addresses, if the file has any."""
        assert self.hiding is not None
        with contextlib.suppress(OSError, UnicodeError):
            if not os.path.isfile(path) or os.path.getsize(path) > LARGEST:
                return None
            with self._open(path, encoding="utf-8", newline="") as file:
                text = file.read()
            name = os.path.basename(path)
            is_dotenv = name.startswith(".env") or name.endswith(".env")
            without = self.hiding.lines(text) if is_dotenv else self.hiding.text(text)
            if without != text:
                self._instead[path] = ours = self.new(path)
                with self._open(ours, "w", encoding="utf-8", newline="") as file:
                    file.write(without)
                return ours
        return None

    def new(self, path: str) -> str:
        return os.path.join(self.folder, f"{len(self._instead)}-{os.path.basename(path)}")


def is_configuration(path: str) -> bool:
    name = os.path.basename(path)
    if path.startswith("/run/secrets/"):
        return True
    if "site-packages" in path or path.startswith(sys.base_prefix + os.sep):
        return False
    return name.startswith(".env") or name.endswith(CONFIGURATION)
