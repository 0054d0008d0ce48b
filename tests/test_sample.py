"""What `--sample` leaves out, on the very tests of this file."""

import pytest

from selection import by_turns, sampled

DIALECTS = {"sqlite", "postgresql", "mysql"}
pytestmark = pytest.mark.any_sqlalchemy


def cases_of(request: pytest.FixtureRequest) -> list[pytest.Item]:
    test = request.node.nodeid.partition("[")[0]
    return [item for item in request.session.items if item.nodeid.startswith(f"{test}[")]


def databases_of(items: list[pytest.Item]) -> set[str]:
    return {word for item in items for word in DIALECTS if word in item.nodeid}


@pytest.mark.parametrize("number", range(3))
def test_an_older_sqlalchemy_meets_each_database_by_turns(
    request: pytest.FixtureRequest, dialect: str, number: int
) -> None:
    cases = cases_of(request)
    kept = list(filter(by_turns(cases), cases))
    assert databases_of(kept) == databases_of(cases), "in `make quick` there is one"
    assert len(kept) == 3, (dialect, number)


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("number", range(5))
def test_of_a_sweep_every_second_case_is_kept(request: pytest.FixtureRequest, number: int) -> None:
    cases = cases_of(request)
    kept = [item.nodeid[-2] for item in filter(sampled(cases), cases)]
    if request.config.getoption("sample"):
        assert len(cases) == 3 and str(number) in "024"
    else:
        assert kept == ["0", "2", "4"]
