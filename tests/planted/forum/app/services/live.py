"""Numbers for the screen in the office."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import SessionFactory
from app.models import Category, Setting


class Live:
    def __init__(self) -> None:
        self.session: AsyncSession | None = None

    async def numbers(self) -> dict[str, int]:
        if self.session is None:
            self.session = SessionFactory()  # fault: left-open capture proved
        settings = await self.session.scalar(  # fault: left-open capture proved
            select(func.count()).select_from(Setting)
        )
        categories = await self.session.scalar(  # fault: left-open capture proved
            select(func.count()).select_from(Category)
        )
        return {"settings": settings or 0, "categories": categories or 0}

    async def stop(self) -> None:
        if self.session is not None:
            await self.session.close()
            self.session = None


live = Live()
