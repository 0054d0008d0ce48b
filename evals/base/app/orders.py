from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import get_session
from app.models import Customer, Order

router = APIRouter()
Db = Annotated[AsyncSession, Depends(get_session)]


@router.get("/orders")
async def with_names(session: Db) -> list[dict[str, Any]]:
    rows = []
    for order in await session.scalars(select(Order).order_by(Order.id)):
        customer = await session.get_one(Customer, order.customer_id)
        rows.append({"id": order.id, "total": order.total, "name": customer.name})
    return rows


@router.get("/orders/newest")
async def newest(session: Db, page: int = 0, limit: int = 50) -> dict[str, Any]:
    query = select(Order).order_by(Order.id.desc()).offset(page * limit).limit(limit)
    found = list(await session.scalars(query))
    return {"items": [order.id for order in found], "next": page + 1 if found else None}
