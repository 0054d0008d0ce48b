import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, BackgroundTasks
from pydantic import BaseModel, Field
from sqlalchemy import exists, func, insert, select

from app import jobs
from app.db import SessionDep, SessionFactory
from app.models import Notification, User

router = APIRouter(prefix="/notifications", tags=["notifications"])

CHUNK = 100


class Broadcast(BaseModel):
    text: str = Field(max_length=300)
    user_ids: list[int]


def chunks(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@router.get("")
async def mine(session: SessionDep, user_id: int) -> Any:
    query = (
        select(Notification)
        .where(Notification.user_id == user_id)
        .order_by(Notification.created_at.desc())
        .limit(50)
    )
    found = await session.scalars(query)  # innocent: bounded-by-an-index
    return [{"text": one.message, "read": one.is_read} for one in found]


@router.get("/unread")
async def unread(session: SessionDep, user_id: int) -> Any:
    query = select(func.count(Notification.id)).where(
        Notification.user_id == user_id, ~Notification.is_read
    )
    return {"unread": await session.scalar(query)}  # innocent: partial-index-in-use


@router.get("/wait")
async def wait(user_id: int, after: int, tries: int = 7) -> Any:
    """Long polling: answers as soon as there is news."""
    query = select(exists().where(Notification.user_id == user_id, Notification.id > after))
    for _ in range(tries):
        async with SessionFactory() as session:
            if await session.scalar(query):  # innocent: polling
                return {"news": True}
        await asyncio.sleep(0.02)
    return {"news": False}


@router.post("/broadcast", status_code=202)
async def broadcast(session: SessionDep, given: Broadcast) -> Any:
    known = await session.scalars(select(User.id).where(User.id.in_(set(given.user_ids))))
    valid = set(known)
    rows = [{"user_id": id_, "message": given.text} for id_ in given.user_ids if id_ in valid]
    for chunk in chunks(rows, CHUNK):
        await session.execute(insert(Notification), chunk)  # innocent: chunked-insert
    await session.commit()
    return {"sent": len(rows)}


@router.post("/remind/{user_id}", status_code=202)
async def remind(user_id: int, tasks: BackgroundTasks) -> Any:
    tasks.add_task(jobs.remind, user_id)
    return {"queued": True}


@router.post("/digest/{user_id}", status_code=202)
async def digest(user_id: int, tasks: BackgroundTasks) -> Any:
    tasks.add_task(jobs.send_digest, user_id)
    return {"queued": True}
