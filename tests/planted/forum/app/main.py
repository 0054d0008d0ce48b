"""The API of a discussion forum: posts, comments, moderation, notifications and a handbook.

It is planted: it has faults in how it talks to its database, of the kinds that are common in
such applications, and code that only looks like them. A line with a fault says so in a
comment (`fault: NAME LAYER CONFIDENCE`), code that is all right too (`innocent: NAME`);
`tests/planted/judging.py` reads them and compares them with what optimize-queries.sh found.

It runs on SQLite and on PostgreSQL (DATABASE_URL); `python -m app.seed` fills it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse

from app.db import engine
from app.routers import (
    admin,
    articles,
    categories,
    comments,
    moderation,
    notifications,
    posts,
    users,
)
from app.services.live import live


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await live.stop()
    await engine.dispose()


app = FastAPI(title="Forum", lifespan=lifespan)
for module in (posts, users, categories, comments, moderation, notifications, admin, articles):
    app.include_router(module.router)


@app.exception_handler(ResponseValidationError)
async def invalid_response(_request: Request, _error: ResponseValidationError) -> JSONResponse:
    return JSONResponse({"detail": "internal error"}, status_code=500)
