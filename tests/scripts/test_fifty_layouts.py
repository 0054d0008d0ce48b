"""Fifty projects that nobody chose, and twelve of public kinds: the scripts agree with Alembic.

`projects/fifty.py` has the table. Alembic itself is asked in each project, with its own settings
and its own database: `heads`, `upgrade heads`, `check`. Nothing here knows what is right (#12). In
the twelve of `projects/twelve.py` it also writes the revision, beside ours (#13).
"""

import json
import re
import shlex
import sqlite3
from pathlib import Path

import pytest

from projects import fifty, pairs, twelve, warm
from projects.setup_door import SCRIPTS, environment, tree

pytestmark = pytest.mark.any_sqlalchemy


def alembic(made: fifty.Made, *arguments: str) -> tuple[int, str]:
    """As a user calls it, in the project."""
    return warm.run(
        ["-m", "alembic", *made.alembic, *arguments],
        cwd=made.root,
        environment=environment(None, **made.variables),
        warnings="default",
    )


def ask(made: fifty.Made, script: str, *arguments: str) -> tuple[int, str, str]:
    words = {"-c": "--ini", "-n": "--name"}
    ended = warm.door(
        SCRIPTS / f"{script}.sh",
        *arguments,
        *[words.get(word, word) for word in made.alembic],
        cwd=made.root,
        environment=environment(None, **made.variables),
    )
    return ended.returncode, ended.stdout, ended.stderr


def right(made: fifty.Made) -> int:
    """What `generate-migration.sh --check` has to end with."""
    code, said = alembic(made, "heads")
    assert code == 0, said
    heads = re.findall(r"^(\w+)( \(\w+\))? \((?:effective )?head\)", said, re.MULTILINE)
    code, said = alembic(made, "upgrade", "heads")
    assert code == 0, said
    if len(heads) > 1 and not all(label for _, label in heads):
        return 12  # Alembic compares here, too, and knows not where a revision would go
    code, said = alembic(made, "check")
    assert code == 0 or "New upgrade operations detected" in said, said
    return 15 if code else 0


@pytest.mark.sweep(every=10)
@pytest.mark.parametrize("row", fifty.ROWS, ids=fifty.title)
def test_the_scripts_agree_with_alembic(row: pairs.Row, tmp_path: Path) -> None:
    made = fifty.write(tmp_path / "shop", row)
    wanted = right(made)
    before = tree(tmp_path)

    code, said, errors = ask(made, "setup-alembic", "--dry-run", "--json")
    assert code == 0, errors
    found = json.loads(said)
    assert not found["changes"], f"nothing is wrong with it: {found['changes']}"

    if row["state"] == "no revision":
        writes_what_alembic_takes(made)
        return
    code, said, errors = ask(made, "generate-migration", "--check", "--json")
    assert code == wanted, said + errors
    assert tree(tmp_path) == before


def writes_what_alembic_takes(made: fifty.Made) -> None:
    """The written revision is one to Alembic, and nothing is left to do after it."""
    code, said, errors = ask(made, "generate-migration", "the tables", "--json")
    assert code == 0, said + errors
    assert Path(json.loads(said)["file"]).parent == made.versions
    assert right(made) == 0


def test_each_choice_is_in_some_row() -> None:
    for name, choices in fifty.DIMENSIONS.items():
        assert {row[name] for row in fifty.ROWS} == set(choices), name
    assert all(fifty.allowed(row) for row in fifty.ROWS)


def test_fifty_rows_hold_most_pairs() -> None:
    """All of them take two hundred rows, as there are that many of URL and models."""
    every = len(pairs.possible(fifty.DIMENSIONS, fifty.allowed))
    there = every - pairs.missing(fifty.DIMENSIONS, fifty.ROWS, fifty.allowed)
    assert there / every > 0.66


@pytest.mark.sweep(every=6)
@pytest.mark.parametrize("name", twelve.TWELVE)
def test_a_revision_of_ours_is_as_good_as_alembics(name: str, tmp_path: Path) -> None:
    """Fails wherever ours fails and plain Alembic, in the same project, does not (#13)."""
    ours, plain = (twelve.TWELVE[name](tmp_path / side) for side in ("ours", "plain"))
    wanted = right(ours)
    right(plain)
    before = tree(tmp_path)
    code, said, errors = ask(ours, "setup-alembic", "--dry-run", "--json")
    assert code == 0, errors
    assert not json.loads(said)["changes"], said
    code, said, errors = ask(ours, "generate-migration", "--check", "--json")
    assert code == wanted, said + errors
    assert tree(tmp_path) == before

    failed, why = alembic(plain, "revision", "--autogenerate", "-m", "all of the tables")
    code, said, errors = ask(ours, "generate-migration", "all of the tables", "--json")
    if failed:
        assert code == 12, f"Alembic: {why}\nours: {said}{errors}"
        carried_out(json.loads(said)["remedy"].split(" -- ")[0].split(": ")[1], plain)
        return
    assert code == 0, said + errors
    assert right(ours) == right(plain) == 0
    assert names(ours) == names(plain)
    assert schema(ours) == schema(plain)


def carried_out(command: str, made: fifty.Made) -> None:
    """What is printed for branches on purpose writes the revision that was asked for."""
    for words in (shlex.split(command)[1:], ["upgrade", "heads"], ["check"]):
        code, said = alembic(made, *words)
        assert code == 0, said


def names(made: fifty.Made) -> list[str]:
    """The modules' names, without what is of one run in a revision's."""
    found = [str(path.relative_to(made.root)) for path in made.root.rglob("*.py")]
    return sorted(re.sub(r"[0-9a-f]{12}|\d+", "N", name) for name in found)


def schema(made: fifty.Made) -> list[object]:
    with sqlite3.connect(made.root / "dev.db") as connection:
        found = connection.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall()
        columns = "SELECT * FROM pragma_table_info(?)"
        return sorted([*one, connection.execute(columns, one[1:2]).fetchall()] for one in found)
