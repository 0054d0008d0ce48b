# Moderators' tools. Plain SQL: most of it came from the old scripts.
from fastapi import APIRouter, Body
from sqlalchemy import select, text, update

from app.db import SessionDep
from app.models import Post, Report

router = APIRouter(prefix="/moderation", tags=["moderation"])

QUEUE = text(
    "SELECT id, post_id, reason FROM reports WHERE status = 'open' ORDER BY created_at LIMIT :size"
)
LATEST = text("SELECT id, post_id FROM reports ORDER BY id DESC LIMIT :size")
SAME_POST = text("SELECT count(*) FROM reports WHERE post_id = :post_id")
STAFF = text("SELECT id, name FROM users WHERE id IN (:first, :second) ORDER BY id")


@router.get("/queue")
async def queue(session: SessionDep, size: int = 50):
    n = {"size": size}
    rows = await session.execute(QUEUE, n)  # fault: partial plans measured on reports(created_at)
    return [dict(row) for row in rows.mappings()]


@router.get("/latest")
async def latest(session: SessionDep, size: int = 20):
    reports = (await session.execute(LATEST, {"size": size})).all()
    out = []
    for id_, post_id in reports:
        values = {"post_id": post_id}
        others = await session.scalar(SAME_POST, values)  # fault: text-in-loop capture proved
        out.append({"id": id_, "same_post": others})
    return out


@router.get("/section")
async def section(session: SessionDep, slug: str):
    sql = f"SELECT id FROM categories WHERE slug = '{slug}'"  # fault: literals code suspected
    rows = await session.execute(text(sql))  # fault: literals code suspected
    return [dict(row) for row in rows.mappings()]


@router.get("/staff")
async def staff(session: SessionDep):
    rows = await session.execute(STAFF, {"first": 1, "second": 2})  # innocent: text-with-parameters
    return [dict(row) for row in rows.mappings()]


@router.get("/search")
async def search(session: SessionDep, q: str):
    contains = Report.reason.ilike(f"%{q}%")  # fault: wildcard code suspected
    query = select(Report.id, Report.reason).where(contains).limit(20)
    rows = await session.execute(query)
    return [dict(row) for row in rows.mappings()]


@router.post("/close")
async def close(session: SessionDep, ids: list[int] = Body()):  # noqa: B008
    reports = (await session.scalars(select(Report).where(Report.id.in_(ids)))).all()
    for report in reports:
        report.status = "settled"
        await session.commit()  # fault: commit-in-loop capture proved
    return {"closed": len(reports)}


@router.post("/close-together")
async def close_together(session: SessionDep, ids: list[int] = Body()):  # noqa: B008
    reports = (await session.scalars(select(Report).where(Report.id.in_(ids)))).all()
    for report in reports:
        report.status = "settled"
    await session.commit()  # innocent: unit-of-work
    return {"closed": len(reports)}


@router.post("/rescore")
async def rescore(session: SessionDep, scores: dict[int, int]):
    for post_id, score in scores.items():
        statement = update(Post).where(Post.id == post_id).values(score=score)
        await session.execute(statement)  # fault: update-in-loop capture proved
    await session.commit()
    return {"rescored": len(scores)}
