from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import get_session
from app.models import Customer

router = APIRouter()


@router.post("/import", status_code=201)
async def import_all(
    emails: list[str], session: Annotated[AsyncSession, Depends(get_session)]
) -> dict[str, int]:
    for email in emails:
        session.add(Customer(email=email, name=email, password_hash="!"))
        try:
            await session.commit()
        except IntegrityError:
            raise HTTPException(409, f"{email} is there already") from None
    return {"imported": len(emails)}
