"""Rows of a table of choices in which as many pairs as can be occur early, the same ones always."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product

Row = dict[str, str]


def rows(
    dimensions: Mapping[str, Sequence[str]], number: int, allowed: Callable[[Row], bool]
) -> list[Row]:
    """`number` rows, one choice for each dimension: each takes the most pairs that are still new.

    Greedy: the first new pair that no row has is put in, then each other dimension, in the order
    of their size, gets the choice that adds most. `allowed` refuses a row, also an incomplete one,
    that no project can be.
    """
    open_pairs = possible(dimensions, allowed)
    used = {(name, choice): 0 for name in dimensions for choice in dimensions[name]}
    found: list[Row] = []
    while len(found) < number:
        if not open_pairs:
            open_pairs = possible(dimensions, allowed)
        row = _row(dimensions, open_pairs, used, allowed)
        for one in combinations(sorted(row.items()), 2):
            open_pairs.pop(one, None)
        for item in row.items():
            used[item] += 1
        found.append(row)
    return found


def missing(dimensions: Mapping[str, Sequence[str]], made: Sequence[Row],
            allowed: Callable[[Row], bool]) -> int:  # fmt: skip
    """How many of the possible pairs are in none of the rows."""
    there = {one for row in made for one in combinations(sorted(row.items()), 2)}
    return len(possible(dimensions, allowed).keys() - there)


def possible(
    dimensions: Mapping[str, Sequence[str]], allowed: Callable[[Row], bool]
) -> dict[tuple[tuple[str, str], ...], None]:
    """All that are possible, in a fixed order (a set has none)."""
    return {
        tuple(sorted([(one, a), (other, b)])): None
        for one, other in combinations(dimensions, 2)
        for a, b in product(dimensions[one], dimensions[other])
        if allowed({one: a, other: b})
    }


def _row(
    dimensions: Mapping[str, Sequence[str]],
    open_pairs: Mapping[tuple[tuple[str, str], ...], None],
    used: Mapping[tuple[str, str], int],
    allowed: Callable[[Row], bool],
) -> Row:
    # Begun with the choice that was taken least, so that each is soon seen.
    first = min(open_pairs, key=lambda pair: sum(used[item] for item in pair))
    row = dict(first)
    others = [name for name in dimensions if name not in row]
    for name in sorted(others, key=lambda one: -len(dimensions[one])):
        choices = [choice for choice in dimensions[name] if allowed({**row, name: choice})]
        row[name] = max(
            choices,
            key=lambda choice: (
                sum(tuple(sorted([(name, choice), item])) in open_pairs for item in row.items()),
                -used[name, choice],
            ),
        )
    return row
