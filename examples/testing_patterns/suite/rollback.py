"""Every test runs in one transaction, which is rolled back"""

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Team
from tests.factories import a_team
from tests.fixtures import Save


@pytest.mark.parametrize("time", [1, 2])
async def test_each_starts_empty(
    client: httpx.AsyncClient, session: AsyncSession, time: int
) -> None:
    """The application commits a team, twice the same one: the second test does not meet it."""
    assert (await client.get("/teams")).json() == []
    assert (await client.post("/teams", json={"name": "Red"})).status_code == 201
    assert await Team.count(session) == 1


async def test_a_failure_undoes_its_request_only(client: httpx.AsyncClient) -> None:
    """A request that breaks a constraint is undone; those before it in the test are not."""
    assert (await client.post("/teams", json={"name": "Red"})).status_code == 201
    assert (await client.post("/teams", json={"name": "Red"})).status_code == 409
    assert [team["name"] for team in (await client.get("/teams")).json()] == ["Red"]


async def test_rows_of_the_test_itself(client: httpx.AsyncClient, save: Save) -> None:
    """The application sees what the test has saved."""
    await save(a_team(name="Blue"))
    assert [team["name"] for team in (await client.get("/teams")).json()] == ["Blue"]
