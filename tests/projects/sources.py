"""Pieces of source that the generated projects share.

Every project speaks the same HTTP, so that one test can drive them all:

- `POST /items {"name": str}` -> 201 `{"id", "name"}`, 409 when the name is taken
- `GET /items` -> 200, a list in the order of creation
- `GET /items/{id}` -> 200 `{"id", "name", "notes": [text, …]}`, 404
- `POST /items/{id}/notes {"text": str}` -> 201 `{"id", "text"}`
"""

ROUTER = """\
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

%(imports)s

router = APIRouter()
Session = Annotated[AsyncSession, Depends(get_session)]


class NewItem(BaseModel):
    name: str


class NewNote(BaseModel):
    text: str


@router.post("/items", status_code=201)
async def create_item(body: NewItem, session: Session) -> dict[str, object]:
    item = Item(name=body.name)
    session.add(item)
    try:
        await session.commit()
    except IntegrityError as error:
        await session.rollback()
        raise HTTPException(409, "name is taken") from error
    return {"id": item.id, "name": item.name}


@router.get("/items")
async def list_items(session: Session) -> list[dict[str, object]]:
    items = await session.scalars(select(Item).order_by(Item.id))
    return [{"id": item.id, "name": item.name} for item in items]


@router.get("/items/{item_id}")
async def read_item(item_id: int, session: Session) -> dict[str, object]:
    item = await session.get(Item, item_id)
    if item is None:
        raise HTTPException(404)
    query = select(Note.text).where(Note.item_id == item_id).order_by(Note.id)
    return {"id": item.id, "name": item.name, "notes": list(await session.scalars(query))}


@router.post("/items/{item_id}/notes", status_code=201)
async def create_note(item_id: int, body: NewNote, session: Session) -> dict[str, object]:
    if await session.get(Item, item_id) is None:
        raise HTTPException(404)
    note = Note(item_id=item_id, text=body.text)
    session.add(note)
    await session.commit()
    return {"id": note.id, "text": note.text}
"""

BASE = """\
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass
"""

ITEM = """\
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

%(base)s


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
"""

NOTE = """\
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

%(base)s


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    text: Mapped[str] = mapped_column(String(200))
"""

SESSION = """\
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

%(settings)s

engine = create_async_engine(%(url)s)
sessions = async_sessionmaker(engine, expire_on_commit=False)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session
"""

MAIN = """\
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

%(imports)s


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.include_router(router)
"""

SETTINGS = """\
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    %(field)s: str
    app_name: str = "items"


settings = Settings()
"""

ALEMBIC_INI = """\
[alembic]
script_location = %(location)s
prepend_sys_path = .
path_separator = os

[loggers]
keys = root

[handlers]
keys = console

[formatters]
keys = generic

[logger_root]
level = WARNING
handlers = console

[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = generic

[formatter_generic]
format = %%(levelname)s %%(message)s
"""

MAKO = '''\
"""${message}"""

from alembic import op
import sqlalchemy as sa
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''

SYNC_ENV = """\
from logging.config import fileConfig

from alembic import context
from sqlalchemy import engine_from_config, pool

from app.config import settings
from app.db import Base
from app.models import item, note

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name)

SYNC = {"+asyncpg": "+psycopg", "+aiosqlite": "", "+aiomysql": "+pymysql"}
url = settings.database_url
for name, replacement in SYNC.items():
    url = url.replace(name, replacement)
config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
target_metadata = Base.metadata


def run_migrations_offline():
    context.configure(url=url, target_metadata=target_metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online():
    connectable = engine_from_config(
        config.get_section(config.config_ini_section, {}),
        prefix="sqlalchemy.",
        poolclass=pool.NullPool,
    )
    with connectable.connect() as connection:
        context.configure(connection=connection, target_metadata=target_metadata)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
"""

BROKEN_ASYNC_ENV = """\
import asyncio
from logging.config import fileConfig

from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

from app.config import settings
from app.db import Base
from app.models import item

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name)
target_metadata = Base.metadata


def run(connection):
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()


async def run_migrations_online():
    engine = create_async_engine(settings.database_url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(run_migrations_online())
"""

FIRST_REVISION = '''\
"""first tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "items",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
%(more)s

def downgrade():
%(less)s    op.drop_table("items")
'''

NOTES_UP = """\
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
"""
NOTES_DOWN = '    op.drop_table("notes")\n'

PYPROJECT = """\
[project]
name = "items-service"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = [%(dependencies)s]
%(more)s"""

WITH_DATABASE = '"fastapi", "uvicorn", "pydantic-settings", "sqlalchemy[asyncio]", "aiosqlite"'
