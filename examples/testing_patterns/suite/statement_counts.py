"""Counted statements find a query in a loop (N+1)"""

import httpx

from app.db.session_manager import DatabaseSessionManager
from tests.factories import a_member, a_team
from tests.fixtures import Save
from tests.statements import recorded


async def test_the_list_of_teams(
    client: httpx.AsyncClient, database: DatabaseSessionManager, save: Save
) -> None:
    """Reading 21 teams takes as many statements as reading one."""

    async def cost() -> int:
        with recorded(database) as statements:
            assert (await client.get("/teams")).status_code == 200
        return len(statements)

    await save(a_team(members=[a_member()]))
    one = await cost()
    await save(*(a_team(members=[a_member(), a_member()]) for _ in range(20)))
    assert await cost() == one


async def test_exactly(
    client: httpx.AsyncClient, database: DatabaseSessionManager, save: Save
) -> None:
    """Where it matters, the number itself: one SELECT of teams, one of their members."""
    await save(a_team(members=[a_member()]))
    with recorded(database) as statements:
        await client.get("/teams")
    assert len(statements) == 2, "\n".join(statements)
