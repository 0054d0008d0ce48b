import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, raiseload, selectinload

from app.db import SessionDep, SessionFactory
from app.models import Category, Post, Tag, User
from app.services import summaries

router = APIRouter(prefix="/posts", tags=["posts"])

Limit = Annotated[int, Query(ge=1, le=500)]


class CategoryOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    slug: str
    title: str


class PostDetail(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    category: CategoryOut


@router.get("")
async def list_posts(session: SessionDep, limit: Limit = 20) -> list[dict[str, Any]]:
    posts = (await session.scalars(select(Post).order_by(Post.id.desc()).limit(limit))).all()
    cards = []
    for post in posts:
        author = await post.awaitable_attrs.author  # fault: awaitable-attrs capture proved
        cards.append({"id": post.id, "title": post.title, "author": author.name})
    return cards


@router.get("/recent")
async def recent(session: SessionDep, before: int | None = None, limit: Limit = 20) -> Any:
    query = select(Post).options(joinedload(Post.author)).order_by(Post.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Post.id < before)
    posts = (await session.scalars(query)).all()  # innocent: keyset-and-joinedload
    return {
        "items": [{"id": post.id, "author": post.author.name} for post in posts],
        "next": posts[-1].id if posts else None,
    }


@router.get("/tagged")
async def tagged(session: SessionDep, limit: Limit = 20) -> Any:
    query = (
        select(Post)
        .options(selectinload(Post.tags), raiseload("*"))
        .order_by(Post.id.desc())
        .limit(limit)
    )
    result = []
    for post in await session.scalars(query):  # innocent: selectinload
        result.append({"id": post.id, "tags": [tag.name for tag in post.tags]})
    return result


@router.get("/category/{slug}")
async def in_category(db: SessionDep, slug: str) -> Any:
    category = await find_category(db, slug)
    query = (
        select(Post.id, Post.title)
        .where(Post.category_id == category.id)
        .order_by(Post.created_at.desc())
        .limit(20)
    )
    rows = await db.execute(query)  # fault: feed plans measured on posts(category_id,created_at)
    return [row._asdict() for row in rows]


async def find_category(session: SessionDep, slug: str) -> Category:
    found = await session.scalar(  # innocent: tiny-table-without-index
        select(Category).where(Category.slug == slug)
    )
    if found is None:
        raise HTTPException(404)
    return found


@router.get("/archive")
async def archive(session: SessionDep, page: int = 1, size: Limit = 20) -> Any:
    query = select(Post.id, Post.title).order_by(Post.id).offset((page - 1) * size).limit(size)
    rows = await session.execute(query)  # fault: deep-offset plans measured or capture proved
    return [row._asdict() for row in rows]


@router.get("/feed")
async def feed(session: SessionDep, user_id: int) -> Any:
    """First which, by an index alone; then these."""
    newest = (
        select(Post.id).where(Post.author_id == user_id).order_by(Post.created_at.desc()).limit(30)
    )
    ids = (await session.scalars(newest)).all()  # innocent: two-phase-read
    posts = await session.scalars(select(Post).where(Post.id.in_(ids)))
    by_id = {post.id: post for post in posts}
    return [{"id": id_, "title": by_id[id_].title} for id_ in ids]


@router.get("/matrix")
async def matrix(session: SessionDep) -> Any:
    newest = select(Post.id).order_by(Post.id.desc()).limit(15).scalar_subquery()
    query = select(Post.title, Category.title.label("category")).where(Post.id.in_(newest))
    rows = await session.execute(query)  # fault: cartesian capture proved
    return [row._asdict() for row in rows]


@router.get("/of/{user_id}")
async def of_author(session: SessionDep, user_id: int) -> Any:
    query = select(Post).where(Post.author_id == user_id).order_by(Post.created_at).limit(50)
    found = []
    for post in await session.scalars(query):
        author = await session.get(User, post.author_id)  # innocent: same-identity
        found.append({"id": post.id, "author": author.name if author else None})
    return found


@router.get("/{post_id}/detail", response_model=PostDetail)  # fault: response-model capture proved
async def detail(session: SessionDep, post_id: int) -> Any:  # fault: response-model capture proved
    post = await session.scalar(  # fault: response-model capture proved
        select(Post).where(Post.id == post_id)
    )
    if post is None:
        raise HTTPException(404)
    return post  # fault: response-model capture proved


@router.get("/{post_id}/summary")
async def summary(session: SessionDep, post_id: int) -> Any:
    return await summaries.summarize(session, post_id)


def render_thread(session: Session, post_id: int) -> list[str]:
    post = session.get_one(Post, post_id)
    lines = [post.title]
    for comment in post.comments:
        lines.append(f"{comment.author.name}: {comment.body}")  # fault: run-sync capture proved
    return lines


@router.get("/{post_id}/thread")
async def thread(session: SessionDep, post_id: int) -> Any:
    return {"lines": await session.run_sync(render_thread, post_id)}


@router.post("/{post_id}/preview")
async def refresh_preview(session: SessionDep, post_id: int) -> Any:
    post = await session.get_one(Post, post_id)  # fault: held capture proved
    post.preview = await fetch_preview(post.title)  # fault: held capture proved
    await session.commit()
    return {"preview": post.preview}


async def fetch_preview(title: str) -> str:
    """What the preview service says."""
    await asyncio.sleep(0.6)  # fault: held capture proved
    return f"preview of {title}"


@router.post("/{post_id}/preview-apart")
async def refresh_preview_apart(post_id: int) -> Any:
    async with SessionFactory() as session:
        title = await session.scalar(select(Post.title).where(Post.id == post_id))
    preview = await fetch_preview_of(str(title))
    async with SessionFactory.begin() as session:
        post = await session.get_one(Post, post_id)
        post.preview = preview
    return {"preview": preview}


async def fetch_preview_of(title: str) -> str:
    await asyncio.sleep(0.3)  # innocent: slow-await-without-a-connection
    return f"preview of {title}"


@router.post("/{post_id}/tags")
async def tag_post(session: SessionDep, post_id: int, names: list[str]) -> Any:
    post = await session.get_one(Post, post_id, options=[selectinload(Post.tags)])
    known = {tag.name: tag for tag in await session.scalars(select(Tag).where(Tag.name.in_(names)))}
    for name in names:  # innocent: one-flush-of-many
        tag = known.get(name) or Tag(name=name)
        if tag not in post.tags:
            post.tags.append(tag)
    await session.commit()
    return sorted(tag.name for tag in post.tags)
