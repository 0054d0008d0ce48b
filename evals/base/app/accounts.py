from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import get_session
from app.models import Customer

router = APIRouter()


@router.post("/accounts/{key}/withdraw")
async def withdraw(
    key: int, amount: int, session: Annotated[AsyncSession, Depends(get_session)]
) -> dict[str, int]:
    customer = await session.get_one(Customer, key)
    customer.balance = customer.balance - amount
    await session.commit()
    return {"balance": customer.balance}
