from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import get_session
from app.models import Event

router = APIRouter()
Db = Annotated[AsyncSession, Depends(get_session)]


class EventIn(BaseModel):
    starts_at: datetime


@router.post("/events", status_code=201)
async def add(new: EventIn, session: Db) -> int:
    event = Event(starts_at=new.starts_at)
    session.add(event)
    await session.commit()
    return event.id


@router.get("/events/{key}")
async def event(key: int, session: Db) -> EventIn:
    return EventIn(starts_at=(await session.get_one(Event, key)).starts_at)
