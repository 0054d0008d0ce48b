"""Which tests a run has: quick ones, samples of sweeps, on an older SQLAlchemy what may differ."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

STARTS_PROGRAMS = {
    "subprocess",
    "projects.warm",
    "projects.connection_bench",
    "projects.findings",
    "projects.plans_capture",
    "projects.shop",
    "servers.replication",
    "projects.setup_door",
    "faults.soak",
    "templates.env_project",
    "zoo.compare",
}


def keep(
    config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]
) -> int:
    """Leave out the others; how many they are."""
    kept: dict[bool, list[pytest.Item]] = {True: [], False: []}
    for item in items:
        kept[wanted(item)].append(item)
    items[:] = kept[True]
    config.hook.pytest_deselected(items=kept[False])
    return len(kept[False])


def parameters_of(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec else {}


def is_quick(item: pytest.Item) -> bool:
    """By what the test asks for and what its file imports: nobody has to mark anything (#10)."""
    fixtures = set(getattr(item, "fixturenames", ()))
    parameters = parameters_of(item)
    if fixtures & {"postgres_server", "mysql_server", "cluster"} or any(
        value in ("postgresql", "mysql") for value in parameters.values()
    ):
        return False
    if "make_database" in fixtures and "dialect" not in parameters:  # of whichever kind
        return False
    values = vars(getattr(item, "module", None)).values()
    origins = {getattr(value, "__module__", getattr(value, "__name__", "")) for value in values}
    return not origins & STARTS_PROGRAMS


def sampled(items: list[pytest.Item]) -> Callable[[pytest.Item], bool]:
    """Of each test with the marker `sweep(every=N)` the first case and each Nth after it (#10)."""
    seen: Counter[str] = Counter()
    left_out = set()
    for item in items:
        marker = item.get_closest_marker("sweep")
        if marker is None:
            continue
        test = item.nodeid.partition("[")[0]
        if seen[test] % marker.kwargs["every"]:
            left_out.add(item.nodeid)
        seen[test] += 1
    return lambda item: item.nodeid not in left_out


def by_turns(items: list[pytest.Item]) -> Callable[[pytest.Item], bool]:
    """Of the databases that a test is run on one, another for each test: what an older SQLAlchemy
    does otherwise it seldom does on one database only. `make sweeps` has all (#10).
    """
    databases: dict[str, set[str]] = {}
    for item in items:
        test, dialect = test_and_dialect(item)
        databases.setdefault(test, set()).add(dialect)
    # Sorted: the tests may run in random order, and each worker has to come to the same.
    turns = {test: number for number, test in enumerate(sorted(databases))}

    def has_its_turn(item: pytest.Item) -> bool:
        test, dialect = test_and_dialect(item)
        among = sorted(databases[test])
        return among[turns[test] % len(among)] == dialect

    return has_its_turn


def test_and_dialect(item: pytest.Item) -> tuple[str, str]:
    """Its name but for the database's, and that; empty where it has none."""
    dialect = str(parameters_of(item).get("dialect", ""))
    test, _, case = item.nodeid.partition("[")
    return f"{test}[{case.replace(dialect, '', 1)}", dialect


def wants_older_sqlalchemy(item: pytest.Item) -> bool:
    if item.get_closest_marker("any_sqlalchemy"):
        return False
    marker = item.get_closest_marker("older_sqlalchemy_on")
    dialect = parameters_of(item).get("dialect")
    return marker is None or dialect is None or dialect in marker.args
