"""What happens to teams. Functions of a session, which they never commit."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Invitation, Member, Team

VALID_FOR = timedelta(days=7)


class UnknownError(Exception):
    """There is no such row."""


class ExpiredError(Exception):
    """The invitation came too long ago."""


class TeamFullError(Exception):
    """All seats are taken."""


async def invite(
    session: AsyncSession, team_id: uuid.UUID, email: str, now: datetime
) -> Invitation:
    """A new invitation. IntegrityError if there is one for this address."""
    if await session.get(Team, team_id) is None:
        raise UnknownError
    invitation = Invitation(team_id=team_id, email=email, expires_at=now + VALID_FOR)
    return await invitation.save(session)


async def accept(session: AsyncSession, invitation_id: uuid.UUID, now: datetime) -> Member:
    """The member that an invitation becomes. Locks the team: seats are counted one by one."""
    invitation = await session.get(Invitation, invitation_id)
    if invitation is None:
        raise UnknownError
    if now >= invitation.expires_at:
        raise ExpiredError
    team = await session.get_one(Team, invitation.team_id, with_for_update=True)
    members = select(func.count()).select_from(Member).where(Member.team_id == team.id)
    if (await session.scalar(members) or 0) >= team.seats:
        raise TeamFullError
    await invitation.delete(session)
    return await Member(team_id=team.id, email=invitation.email).save(session)
