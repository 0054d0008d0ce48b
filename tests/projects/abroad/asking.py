"""One command in a project: what it ended with, what it took, what it said."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LONGEST = 400.0
"""Seconds after which a command counts as hanging."""
NOT_OURS = re.compile(r"DATABASE_URL|POSTGRES|MYSQL|^PG|^DB_|PYTHON|VIRTUAL_ENV|^COV_|^PYTEST")


@dataclass(frozen=True)
class Said:
    code: int
    seconds: float
    out: str
    err: str

    @property
    def last_line(self) -> str:
        lines = [line.strip() for line in (self.err + "\n" + self.out).splitlines() if line.strip()]
        lines = [line for line in self.err.splitlines() if line.strip()] or lines
        return lines[-1].strip()[:200] if lines else ""


def variables(environment: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Ours without what could be taken for the project's, and the project's."""
    kept = {name: text for name, text in os.environ.items() if not NOT_OURS.search(name)}
    path = os.pathsep.join([str(environment / "bin"), os.environ["PATH"]])
    return {**kept, "PATH": path, "VIRTUAL_ENV": str(environment), **settings}


def run(command: list[str], folder: Path, environment: Mapping[str, str], log: Path) -> Said:
    begun = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env={**environment}, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        errors="replace",
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    said = Said(process.returncode, time.monotonic() - begun, out, err)
    log.parent.mkdir(parents=True, exist_ok=True)
    words = " ".join(command)
    log.write_text(
        f"$ cd {folder} && {words}\n{out}\n--- stderr\n{err}\n"
        f"--- exit {said.code}, {said.seconds:.1f} s\n",
        encoding="utf-8",
    )
    return said
