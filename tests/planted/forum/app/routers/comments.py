from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel
from sqlalchemy import select

from app.db import SessionDep
from app.models import Comment, User
from app.repositories.comments import CommentRepository
from app.services.permissions import has_muted, muted_by
from app.services.words import bad_words

router = APIRouter(prefix="/comments", tags=["comments"])


def repository(session: SessionDep) -> CommentRepository:
    return CommentRepository(session)


Comments = Annotated[CommentRepository, Depends(repository)]


class Imported(BaseModel):
    post_id: int
    author_id: int
    bodies: list[str]


@router.get("/latest")
async def latest(session: SessionDep, comments: Comments, limit: int = 20) -> Any:
    result = []
    for comment in await comments.latest(limit):
        user = await session.get(User, comment.author_id)  # fault: get-in-loop capture proved
        result.append({"id": comment.id, "by": user.name if user else None})
    return result


@router.get("/visible")
async def visible(session: SessionDep, comments: Comments, user_id: int, limit: int = 20) -> Any:
    found = await comments.latest(limit)
    return [
        {"id": comment.id, "body": comment.body}
        for comment in found
        if not await has_muted(session, user_id, comment.author_id)  # fault: helper capture proved
    ]


@router.get("/unmuted")
async def unmuted(session: SessionDep, comments: Comments, user_id: int, limit: int = 20) -> Any:
    muted = await muted_by(session, user_id)
    found = await comments.latest(limit)
    return [
        comment.id for comment in found if comment.author_id not in muted
    ]  # innocent: set-lookup


@router.get("/clean")
async def clean(comments: Comments, limit: int = 20) -> Any:
    result = []
    for comment in await comments.latest(limit):
        if not await bad_words.judge(comment.body):  # innocent: loop-awaits-something-else
            result.append(comment.id)
    return result


@router.get("/flagged")
async def flagged(session: SessionDep, word: str) -> Any:
    if not bad_words.contains(word):  # innocent: contains-of-a-class
        raise HTTPException(400, "no such word")
    query = select(Comment.id).order_by(Comment.id.desc()).limit(20)
    return list(await session.scalars(query))


@router.get("/notified")
async def notified(comments: Comments) -> Any:
    return {"notified": await comments.number_of_notifications()}


@router.get("/{comment_id}/ancestors")
async def ancestors(comments: Comments, comment_id: int) -> Any:
    comment = await comments.get(comment_id)
    if comment is None:
        raise HTTPException(404)
    return [one.id for one in await comments.ancestors(comment)]


@router.post("/import", status_code=201)
async def import_comments(session: SessionDep, comments: Comments, given: Imported) -> Any:
    ids = []
    for body in given.bodies:
        comment = Comment(post_id=given.post_id, author_id=given.author_id, body=body)
        comments.add(comment)
        await comments.save()  # fault: flush-in-loop capture proved
        ids.append(comment.id)
    await session.commit()
    return ids


@router.post("/bulk", status_code=201)
async def bulk(session: SessionDep, comments: Comments, given: Imported) -> Any:
    number = await comments.insert_many(given.post_id, given.author_id, given.bodies)
    await session.commit()
    return {"inserted": number}
