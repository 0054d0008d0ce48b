"""What runs after the response."""

import logging

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import async_sessionmaker

from app.db import SessionFactory, engine
from app.models import Notification

logger = logging.getLogger(__name__)

JobSession = async_sessionmaker(engine)


async def remind(user_id: int) -> None:
    async with JobSession() as session:
        reminder = Notification(user_id=user_id, message="You were missed")
        session.add(reminder)
        await session.commit()
        try:
            logger.info("reminded of %s", reminder.message)  # fault: expired capture proved
        except Exception:
            logger.exception("no reminder for user %s", user_id)


async def send_digest(user_id: int) -> None:
    async with SessionFactory() as session:  # innocent: own-session-of-a-task
        query = select(func.count(Notification.id)).where(
            Notification.user_id == user_id, Notification.is_read.is_(False)
        )
        unread = await session.scalar(query)
        session.add(Notification(user_id=user_id, message=f"{unread} unread", is_read=True))
        await session.commit()
