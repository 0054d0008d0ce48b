import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import get_session
from app.models import Customer, Order

router = APIRouter()


@router.get("/dashboard")
async def numbers(session: Annotated[AsyncSession, Depends(get_session)]) -> dict[str, int]:
    customers, orders, total = await asyncio.gather(
        session.scalar(select(func.count()).select_from(Customer)),
        session.scalar(select(func.count()).select_from(Order)),
        session.scalar(select(func.sum(Order.total))),
    )
    return {"customers": customers or 0, "orders": orders or 0, "total": total or 0}
