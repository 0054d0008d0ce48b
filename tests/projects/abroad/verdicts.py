"""Our scripts on a project, each verdict beside what follows from Alembic's answer."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from projects.abroad import asking
from projects.abroad.checkout import state
from projects.abroad.oracle import Answer
from projects.abroad.requirements import Environment

SCRIPTS = Path(__file__).parents[3] / "scripts"
CODE = ("optimize-queries", "--layers", "code")
DRY_RUN = ("setup-alembic", "--dry-run")
SETUP = ("setup-alembic",)
CHECK = ("generate-migration", "--check")
REVIEW = ("generate-migration", "--review")
CONNECTION = ("test-connection",)
BROKEN = frozenset({5, 6, 8, 20})
"""Exit codes that say: the project itself does not work here."""
BY_ENV = re.compile("does not provide a MetaData object|greenlet_spawn has not been called")
"""What Alembic says where env.py hands over no models, or connects with an asynchronous driver."""
STOPS = BROKEN | {14}
"""Those, or that a revision does."""


@dataclass(frozen=True)
class Verdict:
    """One script's, and whether it agrees with the oracle."""

    script: str
    code: int
    right: frozenset[int]
    seconds: float
    changed: tuple[str, ...]
    what: str
    """The script's own last line."""
    reason: str = ""
    """Why another verdict is right, as a maintainer said who looked."""

    @property
    def agrees(self) -> bool:
        return self.code in self.right and not self.changed


def right_ones(script: tuple[str, ...], answer: Answer | None, environment: Environment,
               upgraded: bool) -> frozenset[int]:  # fmt: skip
    """The exit codes that agree with what Alembic said."""
    if environment.requires_old:
        return frozenset({6})
    if script == CODE:
        return frozenset({0, 31})
    if answer is None:  # no set-up at all: one is made, and there is nothing to check
        return frozenset({0}) if script in {DRY_RUN, SETUP, CONNECTION} else frozenset({5, 8})
    if script in {DRY_RUN, SETUP} and BY_ENV.search(answer.why):
        return frozenset({7})  # that env.py has to be another, which takes --force
    if answer.failed_at in {"heads", "upgrade"}:
        if script == CONNECTION:  # or another layer, where that is why the upgrade fails
            return STOPS | {0, *range(20, 31)}
        return STOPS | ({0} if script == DRY_RUN else set())
    drops = "remove_table" in answer.differences  # env.py does not import a model
    if script in {DRY_RUN, SETUP}:
        return frozenset({0, 7} if drops else {0})
    if script == REVIEW:
        return frozenset({0, 14} if answer.heads else {2})
    if script == CONNECTION:
        return frozenset({0 if upgraded else 30})
    if len(answer.heads) > 1:
        return frozenset({12})
    if answer.failed_at:  # 10: env.py hands over no models
        return BROKEN | ({10} if BY_ENV.search(answer.why) else set())
    if answer.differences:
        return frozenset({9, 15} if drops else {15})
    return frozenset({0, 14})


def ask(
    script: tuple[str, ...], answer: Answer | None, *, environment: Environment, folder: Path,
    root: Path, variables: Mapping[str, str], log: Path, upgraded: bool = False,
    expected: Callable[[str], tuple[int, str] | None] = lambda _: None,
) -> Verdict:  # fmt: skip
    """Run it as a user would, where `alembic` is called."""
    more = [] if answer is None or script == CODE else _meant(answer, folder)
    before = state(root)
    command = ["bash", str(SCRIPTS / f"{script[0]}.sh"), *script[1:], *more]
    title = " ".join(script) + (" (at the head)" if upgraded else "")
    said = asking.run(command, folder, variables, log / f"{title.replace(' ', '')}.txt")
    after = state(root)
    changed = tuple(
        sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    )
    right, reason = right_ones(script, answer, environment, upgraded), ""
    if script == CHECK and answer is not None and answer.works and said.code == 14:
        # A review's findings come first: whether it saw the difference, too, is what counts.
        right = frozenset(
            {14} if ("[not-migrated]" in said.out) == bool(answer.differences) else {15}
        )
    if (found := expected(title)) is not None:
        right, reason = frozenset({found[0]}), found[1]
    return Verdict(title, said.code, right, said.seconds,
                   () if script == SETUP else changed, said.last_line, reason)  # fmt: skip


def _meant(answer: Answer, folder: Path) -> list[str]:
    words = answer.set_up.arguments(folder)
    return [{"-c": "--ini", "-n": "--name"}.get(word, word) for word in words]
