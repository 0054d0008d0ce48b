"""Our scripts on projects that nobody here wrote, beside what plain Alembic says about them.

    python tests/benchmarks/try_projects.py [--keep DIR] [--jobs N] CHECKOUT...

Each CHECKOUT is a git clone; what is committed there is copied to a scratch folder and gets an
environment with what it says it needs, a scratch database, and settings from its own example or
from `CHECKOUT.env` (see `tests/projects/abroad/settings.py`). For each set-up in it
`alembic heads`, `upgrade heads` and `check` run; then the scripts. Printed is each verdict beside
what follows from Alembic's answer, with the seconds and the files that changed, which have to be
none. What each command said is in DIR. **Their code is run**: take checkouts that you would start
yourself.

Exit code 1 when less than 95 % of the verdicts agree.
"""

import argparse
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("tests", "scripts", "templates", "examples")]

from projects.abroad import asking, checkout, oracle, requirements, settings  # noqa: E402
from projects.abroad import verdicts as ours  # noqa: E402
from projects.abroad.servers import Servers, servers  # noqa: E402

ENOUGH = 0.95
MOST_SET_UPS = 3
"""Of one repository: a tutorial has twelve that are nearly the same."""


@dataclass
class Tried:
    """One set-up of a checkout."""

    name: str
    set_up: str
    answer: str
    missing: list[str] = field(default_factory=list)
    verdicts: list[ours.Verdict] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkouts", nargs="+", type=Path, metavar="CHECKOUT")
    parser.add_argument("--keep", type=Path, default=Path("try-projects"), metavar="DIR")
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    options = parser.parse_args()
    keep = options.keep.resolve()
    tried: list[Tried] = []
    with servers(keep) as started, ThreadPoolExecutor(options.jobs) as pool:
        checkouts = [one.resolve() for one in options.checkouts]
        running = [pool.submit(guarded, one, keep, started) for one in checkouts]
        for done in as_completed(running):
            found = done.result()
            for one in found:
                show(one)
            tried += found
    every = [verdict for one in tried for verdict in one.verdicts]
    right = sum(verdict.agrees for verdict in every)
    print(f"\n{right} of {len(every)} verdicts agree ({right / max(len(every), 1):.1%}), "
          f"{len(tried)} set-ups, {len(checkouts)} repositories")  # fmt: skip
    for one in tried:
        for verdict in one.verdicts:
            if not verdict.agrees:
                print(f"  {one.name} {one.set_up}: {verdict.script}: exit {verdict.code}, "
                      f"not {wanted(verdict)}: {verdict.what}")  # fmt: skip
    return 0 if every and right / len(every) >= ENOUGH else 1


def show(one: Tried) -> None:
    print(f"{one.name}  {one.set_up}: Alembic: {one.answer}")
    for missing in one.missing:
        print(f"    not installed: {missing}")
    for verdict in one.verdicts:
        sign = "ok " if verdict.agrees else "NOT"
        print(f"    {sign} {verdict.script:42} exit {verdict.code:3} of {wanted(verdict):9} "
              f"{verdict.seconds:6.1f} s  changed {len(verdict.changed)}"
              f"{'  ' + verdict.reason if verdict.reason else ''}")  # fmt: skip
    sys.stdout.flush()


def wanted(verdict: ours.Verdict) -> str:
    return ",".join(str(code) for code in sorted(verdict.right))


def guarded(source: Path, keep: Path, started: Servers) -> list[Tried]:
    """One checkout that can't even be copied says so, and the others go on."""
    try:
        return try_one(source, keep, started)
    except Exception as error:
        return [Tried(source.name, "-", f"not tried: {type(error).__name__}: {error}")]


def try_one(source: Path, keep: Path, started: Servers) -> list[Tried]:
    name, recipe = checkout.name_of(source), settings.read_recipe(source)
    log = keep / "logs" / source.name
    shutil.rmtree(log, ignore_errors=True)
    work = keep / "copies" / source.name
    shutil.rmtree(work, ignore_errors=True)
    folder = checkout.copy(source, work)
    kind = recipe.database or settings.kind_of(folder)
    found = [one for one in checkout.set_ups(folder) if recipe.means(one, folder)]
    tried = []
    for number, set_up in enumerate(found[:MOST_SET_UPS] or [None]):
        database = started.database(kind)
        shutil.rmtree(work)
        folder = checkout.copy(source, work)
        given = settings.put_in(folder, recipe, database)
        checkout.commit(folder)
        home = home_of(folder, set_up)
        made = environment(
            keep / "environments" / f"{source.name}-{home.name}", folder, home, recipe
        )
        variables = asking.variables(made.folder, given)
        where = log / str(number)
        tried.append(
            try_set_up(
                name,
                root=folder,
                home=home,
                set_up=set_up,
                made=made,
                variables=variables,
                recipe=recipe,
                log=where,
            )
        )
    return tried


def home_of(folder: Path, set_up: checkout.SetUp | None) -> Path:
    """The folder with the list of what is needed, at or above the ini."""
    if set_up is None:
        listed = [path for path in (folder, *sorted(folder.iterdir())) if is_home(path)]
        return listed[0] if listed else folder
    for parent in (set_up.ini.parent, *set_up.ini.parent.parents):
        if is_home(parent) or parent == folder:
            return parent
    return folder


def is_home(folder: Path) -> bool:
    return folder.is_dir() and bool(requirements.named(folder))


def environment(
    where: Path, folder: Path, home: Path, recipe: settings.Recipe
) -> requirements.Environment:
    wanted = [*requirements.named(home), *recipe.more]
    locked = requirements.locked(home) or requirements.locked(folder)
    made = requirements.make(where, wanted, locked, recipe.python or requirements.python_for(home))
    requirements.put_on_path(made, home)
    return made


def try_set_up(
    name: str, *, root: Path, home: Path, set_up: checkout.SetUp | None,
    made: requirements.Environment, variables: dict[str, str], recipe: settings.Recipe, log: Path,
) -> Tried:  # fmt: skip
    answer, folder, words = None, home, "none"
    tried = Tried(name, "-", "")

    def ask(script: tuple[str, ...], *, upgraded: bool = False) -> None:
        tried.verdicts.append(
            ours.ask(script, answer, environment=made, folder=folder, root=root,
                     variables=variables, log=log, upgraded=upgraded,
                         expected=recipe.expected)
        )  # fmt: skip

    if set_up is not None:
        folders = [set_up.ini.parent, home, root]
        if recipe.runs_from:
            folders = [root / recipe.runs_from]
        tried.set_up = f"{set_up.ini.relative_to(root)}" + (
            f" [{set_up.section}]" if set_up.section != "alembic" else ""
        )
        # An empty database first: Alembic's upgrade comes between the two.
        answer = oracle.ask(set_up, list(dict.fromkeys(folders)), variables, log)
        folder, words = answer.folder, answer.in_words
        variables = {**variables, **answer.more}
    tried.answer, tried.missing = words, made.missing
    ask(ours.DRY_RUN)
    if answer is not None:
        ask(ours.CHECK)
        ask(ours.REVIEW)
        ask(ours.CONNECTION, upgraded=True)
    else:
        ask(ours.CONNECTION)
    ask(ours.CODE)
    return tried


if __name__ == "__main__":
    sys.exit(main())
