from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import get_session
from app.models import Customer

router = APIRouter()
Db = Annotated[AsyncSession, Depends(get_session)]


@router.get("/search")
async def by_name(session: Db, q: str) -> list[str]:
    query = select(Customer.name).where(Customer.name.like(f"%{q}%"))
    return list(await session.scalars(query.order_by(Customer.id)))


@router.get("/sorted")
async def in_order(session: Db, sort: str = "name") -> list[str]:
    column = getattr(Customer, sort.removeprefix("-"))
    query = select(Customer.name).order_by(column.desc() if sort.startswith("-") else column)
    return list(await session.scalars(query))
