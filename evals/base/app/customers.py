from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import get_session
from app.models import Customer

router = APIRouter()
Db = Annotated[AsyncSession, Depends(get_session)]


@router.get("/customers/{key}")
async def customer(key: int, session: Db) -> Any:
    found = await session.get_one(Customer, key)
    return {**found.__dict__, "_sa_instance_state": None}


@router.get("/customers/{key}/orders")
async def orders_of(key: int, session: Db) -> list[int]:
    found = (await session.scalars(select(Customer).where(Customer.id == key))).one()
    return [order.total for order in found.orders]
