import asyncio
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from app.db import DATABASE_URL, SessionDep
from app.models import Post, Setting, Tag, User
from app.services.live import live
from app.services.settings import get_setting, titles

router = APIRouter(prefix="/admin", tags=["admin"])

PERIODS = {"day": 1, "week": 7, "month": 30}


class NewUser(BaseModel):
    email: str
    name: str


async def header(session: AsyncSession) -> dict[str, str]:
    return {
        "site": await get_setting(session, "site_name"),
        "title": f"{await get_setting(session, 'site_name')} - dashboard",
    }


async def footer(session: AsyncSession) -> dict[str, str]:
    name = await get_setting(session, "site_name")
    return {"copyright": name, "imprint": await get_setting(session, "site_name")}


@router.get("/dashboard")
async def dashboard(session: SessionDep) -> Any:
    page = {**await header(session), **await footer(session)}
    page["mail"] = f"no-reply@{await get_setting(session, 'site_name')}"
    page["feed"] = await get_setting(session, "site_name", "forum")
    return page


@router.get("/replica")
async def replica() -> Any:
    engine = create_async_engine(DATABASE_URL)  # fault: engine-per-request capture proved
    try:
        async with engine.connect() as connection:
            return {"alive": await connection.scalar(text("SELECT 1")) == 1}
    finally:
        await engine.dispose()


@router.get("/live")
async def numbers() -> Any:
    return await live.numbers()


@router.get("/periods")
async def periods(session: SessionDep) -> Any:
    result = {}
    for name, days in PERIODS.items():
        result[name] = await session.scalar(  # innocent: loop-over-three
            select(func.count(Setting.key)).where(func.length(Setting.key) > days)
        )
    return result


@router.get("/labels")
async def labels(session: SessionDep, limit: int = 30) -> Any:
    posts = await session.execute(
        select(Post.id, Post.category_id).order_by(Post.id.desc()).limit(limit)
    )
    return {
        id_: await titles.of(session, category_id) for id_, category_id in posts
    }  # innocent: cached-loop


@router.get("/ranking")
async def ranking(session: SessionDep, every: int = 1000) -> Any:
    """Each so-manieth post in the order of points."""
    place = func.row_number().over(order_by=(Post.score.desc(), Post.title)).label("place")
    ranked = select(Post.id, Post.title, Post.score, place).subquery()
    query = select(ranked).where(ranked.c.place % every == 1)
    rows = await session.execute(query)  # fault: sort-spill plans measured
    return [dict(row) for row in rows.mappings()]


@router.get("/tags")
async def tags(session: SessionDep, page: int = 1) -> Any:
    query = select(Tag.name).order_by(Tag.id).offset((page - 1) * 20).limit(20)
    return list(await session.scalars(query))  # innocent: small-offset


@router.post("/tags", status_code=201)
async def add_tags(session: SessionDep, names: list[str]) -> Any:
    for name in names:
        await session.execute(insert(Tag).values(name=name))  # fault: insert-in-loop capture proved
    await session.commit()
    return {"added": len(names)}


@router.post("/users", status_code=201)
async def add_users(session: SessionDep, given: list[NewUser]) -> Any:
    users = [User(email=one.email, name=one.name) for one in given]
    session.add_all(users)
    await session.commit()
    for user in users:
        await session.refresh(user)  # fault: refresh-in-loop capture proved
    return [{"id": user.id, "joined": user.joined_at} for user in users]


@router.post("/recount")
async def recount(session: SessionDep, user_id: int) -> Any:
    points = select(func.coalesce(func.sum(Post.score), 0)).where(Post.author_id == user_id)
    for attempt in range(3):
        try:
            await session.execute(  # innocent: retry-loop
                update(User).where(User.id == user_id).values(karma=points.scalar_subquery())
            )
            await session.commit()
        except OperationalError:
            await session.rollback()
            await asyncio.sleep(timedelta(milliseconds=50 * (attempt + 1)).total_seconds())
        else:
            return {"attempts": attempt + 1}
    raise HTTPException(503)
