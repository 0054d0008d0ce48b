"""Values of statements are printed by no script, whatever the server says of them (#11)."""

import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from projects import warm
from projects.setup_door import SCRIPTS
from projects.shop import Shop
from toolkit.report.exits import Exit

CANARY = "canary-17@example.org"
MAIN = """
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.db import DATABASE_URL, Base
from app.models import User

api = FastAPI()
engine = create_async_engine(DATABASE_URL)


@api.get("/made")
async def made() -> int:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    return 1


@api.post("/users/{email}")
async def add(email: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(User.__table__.insert(), {"email": email, "nick": "n"})


@api.get("/by/{email}")
async def by(email: str) -> None:
    async with engine.connect() as connection:
        for _ in range(4):
            await connection.execute(text("SELECT * FROM users WHERE nick = :e"), {"e": email})


@api.get("/wrong/{email}")
async def wrong(email: str) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELEC :e FROM users"), {"e": email})
"""
REQUESTS = f"""GET /made
POST /users/{CANARY}
POST /users/{CANARY}
GET /by/{CANARY}
GET /wrong/{CANARY}
"""
SCRIPT = f"""
import asyncio

from app import main


async def twice() -> None:
    await main.made()
    for _ in range(2):
        await main.add({CANARY!r})


asyncio.run(twice())
"""
REVISION = f'''
"""Two rows of one address."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    users = op.create_table(
        "people",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("email", sa.String(100), nullable=False),
        sa.UniqueConstraint("email", name="uq_people_email"),
    )
    op.bulk_insert(users, [{{"id": 1, "email": {CANARY!r}}}, {{"id": 2, "email": {CANARY!r}}}])


def downgrade() -> None:
    op.drop_table("people")
'''


@pytest.mark.older_sqlalchemy_on("postgresql")
def test_values_are_in_no_output(database_url: str, tmp_path: Path) -> None:
    """One project: its requests, its script that fails, its revision that fails."""
    shop = Shop(tmp_path / "shop")
    shop.write("app/main.py", MAIN)
    shop.write("fails.py", SCRIPT)
    shop.write("requests.txt", REQUESTS)
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "DATABASE_URL": database_url}

    def run(door: str, *arguments: str) -> tuple[int, str]:
        ended = warm.door(SCRIPTS / door, *arguments, cwd=shop.root, environment=environment)
        return ended.returncode, ended.stdout + ended.stderr

    watched = ("--app", "app.main:api", "--requests", "requests.txt", "--html", "r.html")
    layers = ("--layers", "code,capture,catalog", "--write-baseline", "b.json")
    code, said = run("optimize-queries.sh", *watched, *layers, "--json")
    assert code == Exit.OK, said
    assert "statements of 5 requests" in said, said
    shown = {"watched": said, "page": (shop.root / "r.html").read_text()}
    shown["baseline"] = (shop.root / "b.json").read_text()
    code, shown["script"] = run("optimize-queries.sh", "--run", "python fails.py", *layers[:2])
    assert "ended with status 1" in shown["script"], shown["script"]
    shop.write("alembic/versions/0001_two.py", REVISION)
    code, shown["review"] = run("generate-migration.sh", "--review")
    assert code in {Exit.HAZARDS, Exit.PROOF_FAILED}, shown["review"]
    assert "does-not-run" in shown["review"], shown["review"]
    for name, text in shown.items():
        lines = [line for line in text.splitlines() if CANARY in line or "canary" in line]
        # The user's own words, as they were given.
        assert lines == [], (name, lines)
    password = make_url(database_url).password
    assert not password or password not in "".join(shown.values())
