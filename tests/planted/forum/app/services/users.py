"""Everything about users. One service a request; it owns no session."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import SessionFactory
from app.models import Badge, Comment, Post, User


class UserService:
    def __init__(self, session: AsyncSession) -> None:
        self.db = session

    async def everyone(self) -> list[dict[str, Any]]:
        result = await self.db.execute(  # fault: unbounded capture proved
            select(User.id, User.name).order_by(User.id)
        )
        return [dict(row) for row in result.mappings()]

    async def by_email(self, email: str) -> User | None:
        query = select(User).where(func.lower(User.email) == email.lower())
        return await self.db.scalar(query)  # fault: lower-email plans measured on users(email)

    async def by_prefix(self, prefix: str) -> Sequence[str]:
        query = select(User.name).where(User.name.like(f"{prefix}%")).order_by(User.name).limit(20)
        return (await self.db.scalars(query)).all()  # innocent: prefix-like

    async def badges(self, user: User) -> list[str]:
        query = select(Badge.title).where(Badge.user_id == user.id)
        return list(await self.db.scalars(query))  # fault: comprehension capture proved

    async def digest(self, limit: int) -> list[tuple[str, list[str]]]:
        users = await self.db.scalars(select(User).order_by(User.id.desc()).limit(limit))
        return [
            (user.name, await self.badges(user))  # fault: comprehension capture proved
            for user in users
        ]

    async def profile(self, user_id: int) -> dict[str, Any]:
        row = (
            await self.db.execute(  # innocent: aggregate
                select(func.count(Post.id), func.coalesce(func.sum(Post.score), 0)).where(
                    Post.author_id == user_id
                )
            )
        ).one()
        return {"posts": row[0], "score": row[1]}

    async def comments(self, user_id: int) -> list[dict[str, Any]]:
        q = (
            select(Comment.id, Comment.body)
            .where(Comment.author_id == user_id)
            .order_by(Comment.id.desc())
            .limit(20)
        )
        rows = await self.db.execute(q)  # fault: of-author plans measured on comments(author_id)
        return [dict(row) for row in rows.mappings()]

    async def names(self) -> AsyncIterator[str]:
        query = select(User.name).order_by(User.id).execution_options(yield_per=500)
        async for name in await self.db.stream_scalars(query):  # innocent: streamed
            yield f"{name}\n"


async def one_profile(user_id: int) -> dict[str, Any]:
    async with SessionFactory() as session:
        user = await session.get(User, user_id)  # fault: gathered capture proved
        return {"id": user_id, "name": user.name if user else None}


async def profiles(ids: list[int]) -> list[dict[str, Any]]:
    return list(
        await asyncio.gather(*(one_profile(id_) for id_ in ids))  # fault: gathered capture proved
    )
