"""A made-up FastAPI project of any size, with folders in it that are not the project's (#12).

    python tests/projects/large.py FOLDER [FILES]

Of each ten files two have tables, four more statements, four neither; about 200 lines each.
What must not be walked lies beside them: environments, JavaScript packages, copied libraries.
"""

import sys
from pathlib import Path
from textwrap import indent

LINES = 200
TABLES = 2
"""Mapped classes in each file that has some; helpers fill the rest of it."""
FOREIGN_FILES = 40
"""Python files in each folder that is not the project's."""

MAIN = """
from fastapi import FastAPI

from app.api import include_all

app = FastAPI(title="Large")
include_all(app)
"""
DATABASE = """
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from app.config import settings

engine = create_async_engine(settings.database_url)
Session = async_sessionmaker(engine, expire_on_commit=False)


class Base(AsyncAttrs, DeclarativeBase):
    pass


async def get_session() -> AsyncIterator[AsyncSession]:
    async with Session() as session:
        yield session
"""
CONFIG = """
import os


class Settings:
    database_url: str = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///large.db")


settings = Settings()
"""
ENV = """
import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from app.config import settings
from app.db import Base
import app.models

target_metadata = Base.metadata


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()


async def run() -> None:
    engine = create_async_engine(settings.database_url)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(run())
"""
REVISION = '''"""Step {number}."""

import sqlalchemy as sa
from alembic import op

revision = "{number:012x}"
down_revision = {before}
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
'''

HEADS = {
    "models": """
        from datetime import datetime

        from sqlalchemy import ForeignKey, Index, String
        from sqlalchemy.orm import Mapped, mapped_column, relationship

        from app.db import Base
    """,
    "orders": """
        from sqlalchemy import ForeignKey, Numeric
        from sqlalchemy.orm import Mapped, mapped_column, relationship

        from app.db import Base
    """,
    "routes": """
        from fastapi import APIRouter, Depends, HTTPException
        from sqlalchemy.ext.asyncio import AsyncSession

        from app.db import get_session
        from app.{domain}.repository import Repository

        router = APIRouter(prefix="/{domain}")
    """,
    "repository": """
        from sqlalchemy import func, select
        from sqlalchemy.ext.asyncio import AsyncSession
        from sqlalchemy.orm import selectinload

        from app.{domain} import models


        class Repository:
            def __init__(self, session: AsyncSession) -> None:
                self.session = session
    """,
    "service": """
        from sqlalchemy.ext.asyncio import AsyncSession

        from app.{domain}.repository import Repository
        from app.{domain}.rules import total
    """,
    "reports": """
        from sqlalchemy import func, select
        from sqlalchemy.ext.asyncio import AsyncSession

        from app.{domain} import models
    """,
    "schemas": """
        from datetime import datetime

        from pydantic import BaseModel, Field
    """,
    "rules": """
        from collections.abc import Iterable
        from decimal import Decimal
    """,
    "client": """
        import json
        from dataclasses import dataclass
        from urllib.request import Request, urlopen
    """,
    "texts": """
        from string import Template
    """,
}
"""The beginning of each kind of file; the first two have tables, the next four statements."""

BLOCKS = {
    "models": '''
        class {Domain}{n}(Base):
            """What {domain} keeps of number {n}."""

            __tablename__ = "{domain}_{n}"
            __table_args__ = (Index("ix_{domain}_{n}_name_created", "name", "created"),)

            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str] = mapped_column(String(200), index=True)
            note: Mapped[str | None]
            created: Mapped[datetime]
            changed: Mapped[datetime | None]
            parent_id: Mapped[int | None] = mapped_column(ForeignKey("{domain}_{n}.id"), index=True)
            parent: Mapped["{Domain}{n} | None"] = relationship(remote_side=[id])

            def label(self) -> str:
                """The name, with the note where there is one."""
                return f"{{self.name}} ({{self.note}})" if self.note else self.name
    ''',
    "orders": """
        class {Domain}Order{n}(Base):
            __tablename__ = "{domain}_order_{n}"

            id: Mapped[int] = mapped_column(primary_key=True)
            amount: Mapped[float] = mapped_column(Numeric(12, 2))
            state: Mapped[str]
            owner_id: Mapped[int] = mapped_column(ForeignKey("{domain}_{n}.id"), index=True)
            owner: Mapped["{Domain}{n}"] = relationship("{Domain}{n}")
    """,
    "routes": """
        @router.get("/{n}/{{key}}")
        async def read_{n}(
            key: int, session: AsyncSession = Depends(get_session)
        ) -> dict[str, object]:
            found = await Repository(session).one_{n}(key)
            if found is None:
                raise HTTPException(404, "There is no such {domain}.")
            return {{"id": found.id, "name": found.name, "note": found.note}}


        @router.get("/{n}")
        async def list_{n}(session: AsyncSession = Depends(get_session)) -> list[str]:
            rows = await Repository(session).page_{n}(20)
            return [row.label() for row in rows]
    """,
    "repository": """
            async def one_{n}(self, key: int) -> "models.{Domain}{table} | None":
                query = select(models.{Domain}{table}).where(models.{Domain}{table}.id == key)
                return await self.session.scalar(query)

            async def page_{n}(self, limit: int) -> "list[models.{Domain}{table}]":
                query = (
                    select(models.{Domain}{table})
                    .options(selectinload(models.{Domain}{table}.parent))
                    .order_by(models.{Domain}{table}.id)
                    .limit(limit)
                )
                return list(await self.session.scalars(query))

            async def count_{n}(self) -> int:
                return await self.session.scalar(select(func.count(models.{Domain}{table}.id))) or 0
    """,
    "service": """
        async def rename_{n}(session: AsyncSession, key: int, name: str) -> str:
            repository = Repository(session)
            found = await repository.one_{n}(key)
            if found is None:
                return ""
            found.name = name.strip().lower()
            if len(found.name) > 100:
                found.name = found.name[:100]
            await session.commit()
            return found.label()


        async def amount_{n}(session: AsyncSession) -> float:
            rows = await Repository(session).page_{n}(50)
            return float(total(len(row.name) for row in rows))
    """,
    "reports": """
        async def by_name_{n}(session: AsyncSession, names: list[str]) -> dict[str, int]:
            found: dict[str, int] = {{}}
            for name in names:
                query = select(func.count()).where(models.{Domain}{table}.name == name)
                found[name] = await session.scalar(query) or 0
            return found


        async def oldest_{n}(session: AsyncSession) -> str:
            query = select(models.{Domain}{table}).order_by(models.{Domain}{table}.created).limit(1)
            found = await session.scalar(query)
            return found.name if found else ""
    """,
    "schemas": '''
        class {Domain}{n}Out(BaseModel):
            """What the API tells of number {n}."""

            id: int
            name: str = Field(max_length=200)
            note: str | None = None
            created: datetime
            changed: datetime | None = None


        class {Domain}{n}In(BaseModel):
            name: str = Field(min_length=1, max_length=200)
            note: str | None = Field(default=None, max_length=2000)
    ''',
    "rules": '''
        def total_{n}(amounts: Iterable[float], rate: float = 0.19) -> Decimal:
            """The sum with tax, never below zero."""
            value = Decimal(0)
            for amount in amounts:
                if amount < 0:
                    continue
                value += Decimal(str(amount)) * Decimal(str(1 + rate))
            return max(value, Decimal({n}))


        total = total_{n}
    ''',
    "client": """
        @dataclass
        class Answer{n}:
            status: int
            body: dict[str, object]

            @property
            def good(self) -> bool:
                return 200 <= self.status < 300


        def ask_{n}(host: str, path: str, values: dict[str, object]) -> Answer{n}:
            request = Request(host + path, data=json.dumps(values).encode())
            request.add_header("Content-Type", "application/json")
            with urlopen(request, timeout=10) as response:
                return Answer{n}(response.status, json.loads(response.read()))
    """,
    "texts": """
        TEXT_{n} = Template(
            "Dear $name,\\n\\n"
            "number {n} of your $thing has been sent on $day.\\n"
            "It will be with you before $end.\\n"
        )


        def text_{n}(name: str, thing: str, day: str, end: str) -> str:
            values = {{"name": name, "thing": thing, "day": day, "end": end}}
            filled = TEXT_{n}.substitute(values)
            return "\\n".join(line.rstrip() for line in filled.splitlines())
    """,
}
WITH_TABLES = ("models", "orders")
HELPERS = '''
        def short_{n}(name: str, note: str | None) -> str:
            """What a list shows of it."""
            text = f"{{name}}: {{note}}" if note else name
            words = text.split()
            while words and len(" ".join(words)) > 80:
                words.pop()
            return " ".join(words)
'''
FOREIGN = ("env", "frontend/node_modules/gyp", "vendor/lib", "third_party/lib", ".tox/py")
"""`env` is an environment without a telling name."""


def write_project(folder: Path, files: int = 1000, *, revisions: int = 50) -> None:
    """Write a project of about `files` Python files of its own into the empty `folder`."""
    domains = [f"part{number:03}" for number in range(max(files // len(BLOCKS), 1))]
    put(folder / "pyproject.toml", PYPROJECT)
    put(folder / "alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
    put(folder / "migrations/env.py", ENV)
    put(folder / "migrations/script.py.mako", "")
    for number in range(revisions):
        before = f'"{number - 1:012x}"' if number else "None"
        text = REVISION.format(number=number, before=before)
        put(folder / f"migrations/versions/{number:04}_step.py", text)
    put(folder / "app/__init__.py", "")
    put(folder / "app/main.py", MAIN)
    put(folder / "app/db.py", DATABASE)
    put(folder / "app/config.py", CONFIG)
    put(folder / "app/api.py", api(domains))
    put(folder / "app/models.py", "".join(f"import app.{d}.orders\n" for d in domains))
    for domain in domains:
        put(folder / f"app/{domain}/__init__.py", "")
        for kind in BLOCKS:
            put(folder / f"app/{domain}/{kind}.py", source(kind, domain))
    for place in FOREIGN:
        put_foreign(folder / place)


PYPROJECT = """
[project]
name = "large"
version = "1"
dependencies = ["fastapi", "sqlalchemy[asyncio]", "aiosqlite", "alembic"]
"""


def source(kind: str, domain: str) -> str:
    """A module of about `LINES` lines."""
    names = {"domain": domain, "Domain": domain.capitalize()}
    text = plain(HEADS[kind]).format(**names)
    if kind == "orders":
        text += f"\nfrom app.{domain} import models  # noqa: F401\n"
    number = 0
    while text.count("\n") < LINES:
        block = BLOCKS[kind] if number < TABLES or kind not in WITH_TABLES else HELPERS
        gap = "\n\n" if block.startswith("\n            ") else "\n\n\n"
        written = plain(block).format(n=number, table=number % TABLES, **names)
        text = text.rstrip("\n") + gap + written
        number += 1
    return text


def plain(block: str) -> str:
    """Without the eight blanks that the block has in this file."""
    return "".join(
        line.removeprefix(" " * 8) for line in block.strip("\n").splitlines(True)
    ).rstrip(" ")


def api(domains: list[str]) -> str:
    imports = "".join(f"from app.{one} import routes as {one}\n" for one in domains)
    lines = "".join(f"app.include_router({one}.router)\n" for one in domains)
    return (
        f"from fastapi import FastAPI\n\n{imports}\n\ndef include_all(app: FastAPI) -> None:\n"
        + (indent(lines, "    "))
    )


def put_foreign(folder: Path) -> None:
    if folder.name == "env":
        put(folder / "pyvenv.cfg", "home = /usr/bin\n")
    if folder.parent.name in {"vendor", "third_party"}:
        put(folder.parent / "README.md", "Copies of other people's libraries.\n")
    for number in range(FOREIGN_FILES):
        put(folder / f"lib/python3/foreign/m{number}.py", source("models", "foreign"))


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.lstrip("\n"), encoding="utf-8")


if __name__ == "__main__":
    write_project(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
