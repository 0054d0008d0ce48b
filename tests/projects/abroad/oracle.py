"""What plain Alembic says about a set-up, with the project's settings and an empty database."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from projects.abroad import asking
from projects.abroad.checkout import SetUp


@dataclass(frozen=True)
class Answer:
    """Alembic's own words, called as its user calls it."""

    set_up: SetUp
    folder: Path
    """Where `alembic` is called."""
    more: dict[str, str]
    """Variables without which it does not find the project's code, if there are any."""
    heads: tuple[str, ...]
    failed_at: str = ""
    """heads, upgrade, check; empty: it works."""
    why: str = ""
    differences: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        return not self.failed_at

    @property
    def in_words(self) -> str:
        if self.failed_at:
            return f"{self.failed_at} fails: {self.why}"
        if self.differences:
            return f"{len(self.differences)} differences"
        return "agrees" if len(self.heads) == 1 else f"{len(self.heads)} heads, agrees"


OPERATION = re.compile(r"\('((?:add|remove|modify)_\w+)'")
STAGES = ("heads", "upgrade", "check", "")


def ask(set_up: SetUp, folders: list[Path], environment: Mapping[str, str], log: Path) -> Answer:
    """From the first of the folders in which it works; else from where it gets furthest."""
    answers: list[Answer] = []
    for folder in folders:
        answer = _ask(set_up, folder, environment, {}, log)
        if "ModuleNotFoundError" in answer.why or "ImportError" in answer.why:
            answer = _ask(set_up, folder, environment, {"PYTHONPATH": str(folder)}, log)
        if answer.works:
            return answer
        answers.append(answer)
    return max(
        answers, key=lambda one: (STAGES.index(one.failed_at), "ModuleNotFound" not in one.why)
    )


def _ask(
    set_up: SetUp, folder: Path, environment: Mapping[str, str], more: dict[str, str], log: Path
) -> Answer:
    program = [f"{environment['VIRTUAL_ENV']}/bin/alembic", *set_up.arguments(folder)]
    heads: tuple[str, ...] = ()
    for stage, words in (("heads", ["heads"]), ("upgrade", ["upgrade", "heads"]),
                         ("check", ["check"])):  # fmt: skip
        said = asking.run([*program, *words], folder, {**environment, **more},
                          log / f"alembic-{stage}.txt")  # fmt: skip
        if stage == "heads" and said.code == 0:
            heads = tuple(re.findall(r"^(\S+)(?: \([^)]*\))* \(head\)", said.out, re.MULTILINE))
        elif stage == "check" and said.code:
            found = re.search(r"New upgrade operations detected: (.*)", f"{said.out}\n{said.err}")
            if found:
                operations = tuple(OPERATION.findall(found[1])) or ("unknown",)
                return Answer(set_up, folder, more, heads, differences=operations)
        if said.code:
            return Answer(set_up, folder, more, heads, stage, said.last_line)
    return Answer(set_up, folder, more, heads)
