"""templates/conftest.py, in a project that copied it, in a pytest of its own."""

import ast
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

import session_manager
from projects import warm

TEMPLATES = Path(session_manager.__file__).parent

MAIN = """
import asyncio
from fastapi import FastAPI
from sqlalchemy import String, func, select
from sqlalchemy.orm import Mapped, mapped_column
from app.db.base_model import SimpleBaseModel
from app.db.session_manager import Database, DbSession, ReadOnlyDbSession, lifespan

class User(SimpleBaseModel):
    __tablename__ = "users"
    email: Mapped[str] = mapped_column(String(100), unique=True)

app = FastAPI(lifespan=lifespan)

@app.post("/users/{email}", status_code=201)
async def create(email: str, session: DbSession) -> None:
    session.add(User(email=email))

@app.get("/users")
async def count(session: ReadOnlyDbSession) -> int:
    return await session.scalar(select(func.count()).select_from(User)) or 0

@app.get("/database")
async def which(database: Database) -> str:
    return database.engine.dialect.name
"""

TESTS = """
import ast
import os
import pytest
from sqlalchemy import make_url
from sqlalchemy import func, inspect, select
from app.main import User

async def count(session):
    return await session.scalar(select(func.count()).select_from(User))

@pytest.mark.parametrize("time", [1, 2, 3])
async def test_each_starts_empty(client, session, time):
    assert (await client.get("/users")).json() == 0
    assert (await client.post("/users/a@example.com")).status_code == 201
    assert (await client.get("/users")).json() == 1
    assert await count(session) == 1

async def test_failing_commit_is_a_500(client):
    assert (await client.post("/users/a@example.com")).status_code == 201
    assert (await client.post("/users/a@example.com")).status_code == 500
    assert (await client.get("/users")).json() == 1

async def test_the_tests_own_rows(client, session):
    session.add(User(email="own"))
    await session.commit()
    assert (await client.get("/users")).json() == 1
    await session.rollback()
    assert await count(session) == 1

async def test_nothing_is_left(database, client):
    assert (await client.get("/database")).json() == os.environ["EXPECTED"]

async def test_nothing_is_left_outside_either(database):
    async with database.session() as session:
        assert await count(session) == 0

async def test_tables_came_from(database):
    async with database.engine.connect() as connection:
        names = await connection.run_sync(lambda c: inspect(c).get_table_names())
    assert ("alembic_version" in names) == (os.environ.get("MIGRATED") == "1")
"""

ENV = """
from alembic import context
context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
"""

MIGRATION = """
from app.main import User
from alembic import op
revision = "r1"
down_revision = None
def upgrade():
    User.__table__.create(op.get_bind())
def downgrade():
    User.__table__.drop(op.get_bind())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "my project"
    (root / "app" / "db").mkdir(parents=True)
    (root / "tests").mkdir()
    for name in ("base_model.py", "database_url.py", "database_engine.py", "session_manager.py"):
        shutil.copy(TEMPLATES / name, root / "app" / "db")
    (root / "app" / "main.py").write_text(MAIN)
    shutil.copy(TEMPLATES / "conftest.py", root / "tests")
    (root / "tests" / "test_users.py").write_text(TESTS)
    # What its docstring says, so that a bare `pytest` finds the application, too (#16).
    said = (TEMPLATES / "conftest.py").read_text().partition("```toml\n")[2].partition("```")[0]
    assert "pytest.ini_options" in said
    (root / "pyproject.toml").write_text(said + 'filterwarnings = ["error"]\n')
    return root


def run(project: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return warm.completed(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        # The warm process has anyio, which pytest would have wanted to import itself.
        *("-W", "ignore:Module already imported"),
        cwd=project,
        environment={"PATH": os.environ["PATH"], **environ},
    )


def test_runs_on_a_new_sqlite_file(project: Path):
    ran = run(project, EXPECTED="sqlite")
    assert ran.returncode == 0, ran.stdout
    assert "8 passed" in ran.stdout
    assert not list(project.rglob("*.db"))


@pytest.mark.dialects("postgresql", "mysql", "sqlite")
def test_runs_on_the_given_database_again_and_again(project: Path, database_url: str, dialect: str):
    plain = database_url.replace("+asyncpg", "").replace("+aiomysql", "")
    beside = {"TEST_DATABASE_URL": plain, "DATABASE_URL": "sqlite:///production.db"}
    for given in (beside, {"DATABASE_URL": plain}):
        ran = run(project, EXPECTED=dialect, **given)
        assert ran.returncode == 0, ran.stdout
        assert "8 passed" in ran.stdout


@pytest.mark.dialects("postgresql", "sqlite")
def test_runs_the_migrations_where_there_are_some(project: Path, database_url: str, dialect: str):
    (project / "migrations" / "versions").mkdir(parents=True)
    (project / "migrations" / "env.py").write_text(ENV)
    (project / "migrations" / "versions" / "r1.py").write_text(MIGRATION)
    (project / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"
    )
    for _ in range(2):
        ran = run(project, EXPECTED=dialect, MIGRATED="1", TEST_DATABASE_URL=database_url)
        assert ran.returncode == 0, ran.stdout


def test_other_databases_are_refused(project: Path, make_database: Callable[[str], str]):
    for name, url in (
        ("production", "postgresql://app:s3cret@127.0.0.1:1/production"),
        ("app.db", f"sqlite:///{project}/tests/app.db"),
        ("contest", "postgresql://app:s3cret@127.0.0.1:1/contest"),
    ):
        ran = run(project, DATABASE_URL=url)
        assert ran.returncode == 4
        assert f"refuse the database '{name}'" in ran.stdout + ran.stderr
        assert "s3cret" not in ran.stdout + ran.stderr
    assert not list(project.rglob("*.db"))


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("database", "refused"),
    [
        *[(name, name) for name in ("contest", "latest.db", "attestation", "protest", "appTest")],
        *[(name, name) for name in ("testimony", "fastest_2", "prod", "", "tëst", "ätest")],
        ("test?database=prod", "prod"),
        ("test?dbname=contest", "contest"),
        *[(name, None) for name in ("test", "app_test", "test-app", "app.test.db", "TEST2")],
        *[(name, None) for name in ("testing", "pytest", "unittest_gw0", "tests", "my_testdb")],
    ],
)
def test_test_is_a_word_of_the_name(database: str, refused: str | None) -> None:
    """The template itself: which databases it takes (#11)."""
    source = ast.parse((TEMPLATES / "conftest.py").read_text(encoding="utf-8"))
    kept = [
        node
        for node in source.body
        if isinstance(node, ast.Import | ast.Assign)
        or (isinstance(node, ast.ImportFrom) and str(node.module) in {"pathlib", "sqlalchemy"})
        or (isinstance(node, ast.FunctionDef) and node.name == "database_names")
    ]
    names: dict[str, Any] = {"__file__": str(TEMPLATES / "conftest.py")}
    exec(compile(ast.Module(kept, []), "conftest.py", "exec"), names)
    found = names["database_names"](make_url(f"postgresql://app@db/{database}"))
    wrong = [name for name in found if not names["FOR_TESTS"].search(name)]
    assert wrong[:1] == ([] if refused is None else [refused])
