from typing import Any

from fastapi import APIRouter, HTTPException
from sqlalchemy import select
from sqlalchemy.orm import load_only

from ..db import SessionDep
from ..models import Article

router = APIRouter(prefix="/articles", tags=["handbook"])


@router.get("")
async def index(session: SessionDep) -> Any:
    query = select(Article).order_by(Article.id).limit(200)
    found = await session.scalars(query)  # fault: wide plans measured or capture proved
    return [{"slug": article.slug, "title": article.title} for article in found]


@router.get("/titles")
async def titles(session: SessionDep) -> Any:
    query = select(Article).options(load_only(Article.title)).order_by(Article.id).limit(200)
    return [article.title for article in await session.scalars(query)]  # innocent: load-only


@router.get("/{slug}")
async def read(session: SessionDep, slug: str) -> Any:
    article = await session.scalar(
        select(Article).where(Article.slug == slug)
    )  # innocent: by-unique
    if article is None:
        raise HTTPException(404)
    return {"title": article.title, "body": article.body}
