from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Session
from app.models import Customer

router = APIRouter()


async def committed() -> AsyncIterator[AsyncSession]:
    async with Session() as session:
        yield session
        await session.commit()


class NewCustomer(BaseModel):
    email: str
    name: str


@router.post("/signup", status_code=201)
async def signup(
    new: NewCustomer, session: Annotated[AsyncSession, Depends(committed)]
) -> dict[str, str]:
    session.add(Customer(email=new.email, name=new.name, password_hash="!"))
    return {"email": new.email}
