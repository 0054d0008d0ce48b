"""A small project for tests that need one table and full control of its files."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import alembic

from projects import warm

DOOR = Path(__file__).parents[2] / "scripts" / "generate-migration.sh"
MAKO = Path(alembic.__file__).with_name("templates") / "async" / "script.py.mako"

FILES = {
    "pyproject.toml": """
[project]
name = "shop"
version = "0"
dependencies = ["fastapi", "sqlalchemy", "alembic"]
""",
    "app/__init__.py": "",
    "app/main.py": "from fastapi import FastAPI\n\nimport app.models\n\napi = FastAPI()\n",
    "app/db.py": """
import os

from sqlalchemy.orm import DeclarativeBase

DATABASE_URL = os.environ["DATABASE_URL"]


class Base(DeclarativeBase):
    pass
""",
    "app/models.py": """
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200), unique=True)
    nick: Mapped[str] = mapped_column(String(20), index=True)
""",
    "alembic.ini": """
[alembic]
script_location = %(here)s/alembic
prepend_sys_path = .
path_separator = os
""",
    "alembic/env.py": """
import asyncio

from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

import app.models
from app.db import DATABASE_URL, Base


def run(connection):
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()


async def online():
    engine = create_async_engine(DATABASE_URL)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(online())
""",
    "alembic/script.py.mako": MAKO.read_text(),
    "alembic/versions/.gitkeep": "",
}

FIRST = """
import sqlalchemy as sa
from alembic import op

revision = "first"
down_revision = None


def upgrade():
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(length=200), nullable=False),
        sa.Column("nick", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    op.create_index("ix_users_nick", "users", ["nick"])


def downgrade():
    op.drop_index("ix_users_nick", table_name="users")
    op.drop_table("users")
"""
ADDRESS = {
    "sqlite": "sqlite+aiosqlite:///dev.db",
    # Nobody listens there: the developer's database is not needed.
    "postgresql": "postgresql+asyncpg://dev:s3cret-w0rd@127.0.0.1:1/shop",
    "mysql": "mysql+aiomysql://dev:s3cret-w0rd@127.0.0.1:1/shop",
}


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def sees_a_difference(self) -> bool:
        """Did the comparison after a new revision, which costs no run more (#10)?"""
        return "still sees a difference" in self.out.replace("\n  ", " ")


class Shop:
    """The project on disk, and the door run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"))

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        (self.root / name).write_text(text.replace(old, new))

    def remove_environment(self) -> None:
        self.edit("app/db.py", 'os.environ["DATABASE_URL"]', repr(ADDRESS["sqlite"]))

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def versions(self) -> list[Path]:
        return sorted((self.root / "alembic" / "versions").rglob("*.py"))

    def environment(self, url: str | None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        # The interpreter that runs the tests has the project's packages.
        made = {**kept, "VIRTUAL_ENV": sys.prefix, "PYTHONWARNINGS": "default"}
        return {**made, "DATABASE_URL": url} if url else made

    def start(
        self, *arguments: str, url: str | None = ADDRESS["sqlite"], **more: str
    ) -> "subprocess.Popen[str]":
        """The door, for tests that send it signals; what it starts is warm."""
        return subprocess.Popen(
            ["bash", str(DOOR), *arguments],
            cwd=self.root,
            env={**self.environment(url), **warm.environment(), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def generate(
        self,
        *arguments: str,
        url: str | None = ADDRESS["sqlite"],
        more: Mapping[str, str] | None = None,
    ) -> Ended:
        environment = {**self.environment(url), **(more or {})}
        ended = warm.door(DOOR, *arguments, cwd=self.root, environment=environment)
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def add_first(self, *, named: bool = False) -> None:
        """The revision that the models are at, as the door writes it; `named`: its constraints."""
        self.write("alembic/versions/first.py", FIRST)
        if not named:
            for name in ("pk_users", "uq_users_email"):
                self.edit("alembic/versions/first.py", f', name="{name}"', "")

    def add_revision(
        self, revision: str, parent: str | None, body: str = "pass", down: str = "pass"
    ) -> None:
        self.write(
            f"alembic/versions/{revision}.py",
            f"from alembic import op\nimport sqlalchemy as sa\nrevision = {revision!r}\n"
            f"down_revision = {parent!r}\n\ndef upgrade():\n    {body}\n\n"
            f"def downgrade():\n    {down}\n",
        )
