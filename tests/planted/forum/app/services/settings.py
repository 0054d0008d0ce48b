from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Category, Setting


async def get_setting(session: AsyncSession, key: str, default: str = "") -> str:
    query = select(Setting.value).where(Setting.key == key)
    return await session.scalar(query) or default  # fault: settings capture proved


class Titles:
    """Titles of categories, which do not change while the application runs."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    async def of(self, session: AsyncSession, category_id: int) -> str:
        if category_id not in self._known:
            rows = await session.execute(select(Category.id, Category.title))  # innocent: cached
            self._known = {id_: title for id_, title in rows}
        return self._known.get(category_id, "")


titles = Titles()
