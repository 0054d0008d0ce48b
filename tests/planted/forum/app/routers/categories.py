from typing import Any

from fastapi import APIRouter
from sqlalchemy import func, literal, select, true, union_all

from app.db import SessionDep
from app.models import Category, Comment, Post

router = APIRouter(prefix="/categories", tags=["categories"])


@router.get("")
async def index(session: SessionDep) -> Any:
    query = select(Category).order_by(Category.position)
    found = await session.scalars(query)  # innocent: lookup-table
    return [{"slug": one.slug, "title": one.title} for one in found.all()]


@router.get("/counts")
async def counts(session: SessionDep) -> Any:
    result = {}
    for category in (await session.scalars(select(Category))).all():
        result[category.slug] = await session.scalar(  # fault: count-per-row capture proved
            select(func.count()).select_from(Post).where(Post.category_id == category.id)
        )
    return result


@router.get("/stats")
async def stats(session: SessionDep) -> Any:
    query = (
        select(Category.slug, func.count(Post.category_id))
        .outerjoin(Post, Post.category_id == Category.id)
        .group_by(Category.slug)
    )
    return {slug: number for slug, number in await session.execute(query)}  # innocent: grouped


@router.get("/calendar")
async def calendar(session: SessionDep) -> Any:
    """Each category with each quarter."""
    numbers = [select(literal(number).label("quarter")) for number in range(1, 5)]
    quarters = union_all(*numbers).subquery("quarters")
    query = select(Category.slug, quarters.c.quarter).join(quarters, true())
    rows = await session.execute(query)  # innocent: cross-join-on-purpose
    return [[slug, quarter] for slug, quarter in rows]


@router.get("/overview")
async def overview(session: SessionDep, posts: int = 5) -> Any:
    result = []
    for category in await session.scalars(select(Category).order_by(Category.position)):
        newest = select(Post.id, Post.title).where(Post.category_id == category.id)
        rows = await session.execute(  # fault: nested-outer capture proved
            newest.order_by(Post.id.desc()).limit(posts)
        )
        lines = []
        for id_, title in rows:
            number = await session.scalar(  # fault: nested-inner capture proved
                select(func.count(Comment.id)).where(Comment.post_id == id_)
            )
            lines.append(f"{title} ({number})")
        result.append({"category": category.title, "posts": lines})
    return result
