"""Rows come from plain functions with keyword defaults"""

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Member, Team
from tests.factories import a_member, a_team, an_invitation
from tests.fixtures import Save


async def test_a_test_names_what_it_is_about(client: httpx.AsyncClient, save: Save) -> None:
    """`a_team(seats=1, ...)`: that team has no place left, whatever its name may be."""
    full = a_team(seats=1, members=[a_member()])
    invitation = an_invitation(team=full)
    await save(full, invitation)
    assert (await client.post(f"/invitations/{invitation.id}/accept")).status_code == 409


async def test_unique_values_are_unique(session: AsyncSession, save: Save) -> None:
    """A hundred teams with two members each, and no unique constraint is hurt."""
    await save(*(a_team(members=[a_member(), a_member()]) for _ in range(100)))
    assert (await Team.count(session), await Member.count(session)) == (100, 200)
