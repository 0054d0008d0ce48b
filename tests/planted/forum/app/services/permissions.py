from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Mute


async def has_muted(session: AsyncSession, user_id: int, author_id: int) -> bool:
    found = await session.execute(  # fault: helper capture proved
        select(Mute.user_id).where(Mute.user_id == user_id, Mute.muted_id == author_id)
    )
    return found.first() is not None


async def muted_by(session: AsyncSession, user_id: int) -> set[int]:
    return set(await session.scalars(select(Mute.muted_id).where(Mute.user_id == user_id)))
