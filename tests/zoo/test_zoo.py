"""The part of `make zoo` that is cheap: ours gets as far as plain Alembic with each animal.

All of the corpus takes minutes; `make zoo` runs it, and prints the table.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from zoo.compare import DATABASES, HEADER, TABLE, Cell, Result, cells, table
from zoo.corpus import CORPUS, Animal
from zoo.wild import wild

CHEAP = [
    (animal, database)
    for animal in CORPUS
    if animal.cheap
    for database in (*animal.databases[:1], *(("mysql",) if "computed" in animal.name else ()))
]


@pytest.mark.sweep(every=8)
@pytest.mark.parametrize(
    ("animal", "database"),
    [pytest.param(*one, id="-".join((one[0].name, one[1]))) for one in CHEAP],
)
def test_ours_is_never_worse_than_plain_alembic(
    animal: Animal, database: str, make_database: Callable[[str], str]
) -> None:
    """Plain Alembic is asked where ours fails, to be excused."""
    (cell,) = cells([replace(animal, databases=(database,))], make_database, both=False)
    assert not cell.worse, f"plain: {cell.plain}, ours: {cell.ours}\n{cell.ours.why}"


@pytest.mark.sweep(every=24)
@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("seed", range(16))
def test_neither_is_it_by_chance(
    seed: int, database: str, make_database: Callable[[str], str]
) -> None:
    """`make zoo WILD=200` takes more of them, and shrinks."""
    animal = replace(wild(Random(seed), seed), databases=(database,))
    (cell,) = cells([animal], make_database, both=False)
    assert not cell.worse, f"plain: {cell.plain}, ours: {cell.ours}\n{cell.ours.why}"


def test_the_oracle_can_say_no() -> None:
    """What is worse is caught, and the table says where."""
    ok, failed = Result(), Result(1, "upgrade", "NameError")
    worse = Cell("own type", "sqlite", ok, failed)
    assert worse.worse and not worse.better
    assert Cell("own type", "sqlite", failed, ok).better
    assert not Cell("own type", "sqlite", failed, Result(1, "upgrade")).worse
    assert Cell("own type", "sqlite", failed, Result(1, "revision")).worse
    assert "| own type |  | **WORSE** ok → upgrade 1 |  |" in table([worse])


@pytest.mark.any_sqlalchemy
def test_the_table_has_all_animals_and_none_is_worse() -> None:
    """What `make zoo` has written last; its cells are run above, or by `make zoo`."""
    text = TABLE.read_text(encoding="utf-8")
    assert text.startswith(HEADER)
    rows = [line.split(" | ") for line in text.removeprefix(HEADER).splitlines()[2:]]
    assert [row[0].removeprefix("| ") for row in rows] == [animal.name for animal in CORPUS]
    for animal, row in zip(CORPUS, rows, strict=True):
        shown = [cell.strip(" |") for cell in row[1:]]
        filled = {name for name, cell in zip(DATABASES, shown, strict=True) if cell}
        assert filled == set(animal.databases), animal.name
    assert "WORSE" not in text


def test_names_of_animals_are_their_own() -> None:
    assert len({animal.name for animal in CORPUS}) == len(CORPUS)
