from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Comment, Notification


class CommentRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, comment_id: int) -> Comment | None:
        return await self._session.get(Comment, comment_id)  # fault: parent-chain capture proved

    async def latest(self, limit: int) -> Sequence[Comment]:
        query = select(Comment).order_by(Comment.id.desc()).limit(limit)
        return (await self._session.scalars(query)).all()  # innocent: bounded-list

    async def ancestors(self, comment: Comment) -> list[Comment]:
        chain: list[Comment] = []
        current: Comment | None = comment
        while current is not None and current.parent_id is not None:
            current = await self.get(current.parent_id)  # fault: parent-chain capture proved
            if current is not None:
                chain.append(current)
        return chain

    async def number_of_notifications(self) -> int:
        query = select(Notification)
        rows = (await self._session.scalars(query)).all()  # fault: len-of-rows capture proved
        return len(rows)  # fault: len-of-rows code suspected

    async def insert_many(self, post_id: int, author_id: int, bodies: list[str]) -> int:
        rows = [{"post_id": post_id, "author_id": author_id, "body": body} for body in bodies]
        await self._session.execute(insert(Comment), rows)  # innocent: executemany
        return len(rows)

    def add(self, comment: Comment) -> None:
        self._session.add(comment)

    async def save(self) -> None:
        await self._session.flush()  # fault: flush-in-loop capture proved
