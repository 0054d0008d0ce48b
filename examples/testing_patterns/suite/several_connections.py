"""A test of locks needs several connections: it commits, and cleans up"""

import asyncio
import uuid
from datetime import UTC, datetime

import pytest

from app import teams
from app.db.session_manager import DatabaseSessionManager
from app.models import Member
from tests.factories import a_team, an_invitation

pytestmark = pytest.mark.usefixtures("committed")


async def test_the_last_seat(database: DatabaseSessionManager) -> None:
    """Eight people accept at once, one seat is free: one gets it."""
    team = a_team(seats=1)
    invitations = [an_invitation(team=team) for _ in range(8)]
    async with database.begin() as session:
        session.add_all(invitations)

    async def accept(invitation_id: uuid.UUID) -> Member:
        async with database.begin() as session:
            return await teams.accept(session, invitation_id, datetime.now(UTC))

    results = await asyncio.gather(
        *(accept(invitation.id) for invitation in invitations), return_exceptions=True
    )
    assert sum(isinstance(result, Member) for result in results) == 1, results
    assert sum(isinstance(result, teams.TeamFullError) for result in results) == 7, results
