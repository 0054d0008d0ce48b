"""optimize-queries.sh as a whole: from a report to the cure, and what a build server needs."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from projects import warm
from projects.setup_door import alembic
from projects.shop import Shop
from toolkit.report.exits import Exit

DOOR = warm.SCRIPTS / "optimize-queries.sh"
Make = Callable[[str], str]

FILES = {
    "app/db.py": """
import os

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

DATABASE_URL = os.environ["DATABASE_URL"]
engine = create_async_engine(DATABASE_URL)
Session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
""",
    "app/models.py": """
from sqlalchemy import ForeignKey, String
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base


class Author(AsyncAttrs, Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    books: Mapped[list["Book"]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    title: Mapped[str] = mapped_column(String(100))
    author: Mapped[Author] = relationship(back_populates="books")
""",
    "app/main.py": """
from fastapi import FastAPI
from sqlalchemy import select

from app.db import Session
from app.models import Author

api = FastAPI()


@api.get("/authors")
async def authors(limit: int = 10) -> list[dict[str, object]]:
    async with Session() as session:
        query = select(Author).order_by(Author.id).limit(limit)
        found = await session.scalars(query)
        return [
            {"name": author.name, "books": len(await author.awaitable_attrs.books)}
            for author in found
        ]


@api.get("/names")
async def names() -> list[str]:
    async with Session() as session:
        return list(await session.scalars(select(Author.name).limit(5)))
""",
    "requests.txt": """
# as the front page sends them
GET /authors?limit=12
GET /names
""",
}
TABLES = """op.create_table("authors",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_authors"))
    op.create_table("books",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("author_id", sa.Integer, nullable=False),
        sa.Column("title", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_books"),
        sa.ForeignKeyConstraint(["author_id"], ["authors.id"], name="fk_books_author_id"))"""
ROWS = {
    "postgresql": (
        "INSERT INTO authors SELECT n, 'Author ' || n FROM generate_series(1, 500) n",
        "INSERT INTO books SELECT n, n % 500 + 1, 'Book ' || n FROM generate_series(1, 20000) n",
        "ANALYZE",
    ),
    "sqlite": (
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 500)"
        " INSERT INTO authors SELECT n, 'Author ' || n FROM s",
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000)"
        " INSERT INTO books SELECT n, n % 500 + 1, 'Book ' || n FROM s",
    ),
}
WATCH = ("--app", "app.main:api", "--requests", "requests.txt", "--url-env", "DATABASE_URL")


class Library(Shop):
    """Authors and their books, with an N+1 and a foreign key without an index."""

    def __init__(self, root: Path, url: str, *, migrated: bool = True) -> None:
        super().__init__(root)
        self.url = url
        for name, source in FILES.items():
            self.write(name, source)
        self.add_revision("0001", None, TABLES)
        if not migrated:
            return
        ended = alembic(self.root / "alembic.ini", "upgrade", "head", url=url)
        assert ended.code == 0, ended.err

    def optimize(self, *arguments: str, code: int) -> subprocess.CompletedProcess[str]:
        ended = warm.door(DOOR, *arguments, cwd=self.root, environment=self.environment(self.url))
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended

    def report(self, *arguments: str, code: int = Exit.FINDINGS) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.optimize(*arguments, "--json", code=code).stdout)
        return document


def fill(url: str, *statements: str) -> None:
    async def run() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(run())


@pytest.fixture
def library(tmp_path: Path, make_database: Make) -> Library:
    return Library(tmp_path / "my library", make_database("sqlite"))


@pytest.fixture(scope="module")
def unused(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """For what ends before it touches a database."""
    root = tmp_path_factory.mktemp("refusals")
    library = Library(root / "my library", f"sqlite+aiosqlite:///{root / 'x.db'}", migrated=False)
    library.write("report.json", "{}")
    library.write("asked.json", '{"asked": {}, "findings": []}')
    return library


def rules(document: dict[str, Any]) -> set[str]:
    """Those that are sure, and about the application."""
    return {
        one["rule"]
        for one in document["findings"]
        if one["confidence"] != "suspected" and not one["rule"].startswith("setting-")
    }


@pytest.mark.sweep(every=2)
@pytest.mark.dialects("postgresql", "sqlite")
@pytest.mark.older_sqlalchemy_on("postgresql")
def test_from_the_report_to_the_cure(
    tmp_path: Path, database_url: str, dialect: str, make_database: Make
) -> None:
    library = Library(tmp_path / "my library", database_url)
    fill(database_url, *ROWS[dialect])
    before = library.report(*WATCH, "--fix", "books by author")
    (loop,) = (one for one in before["findings"] if one["rule"] == "n-plus-one")
    assert (loop["file"], loop["unit"]) == ("app/main.py", "GET /authors")
    assert (
        loop["line"]
        == FILES["app/main.py"]
        .lstrip()
        .split("\n")
        .index(
            '            {"name": author.name, "books": len(await author.awaitable_attrs.books)}'
        )
        + 1
    )
    wanted = [one for one in before["findings"] if (one["fix"] or {}).get("index")]
    assert {one["fix"]["index"]["table"] for one in wanted} == {"books"}
    (library.root / "report.json").write_text(json.dumps(before))

    fixed = before["fix"]
    (revision,) = map(Path, fixed["revisions"])
    assert revision.is_relative_to(library.root / "alembic" / "versions")
    if dialect == "postgresql":
        assert "postgresql_concurrently=True" in revision.read_text()
    assert not fixed["by_hand"]
    (library.root / "fix.patch").write_text(fixed["patch"])
    subprocess.run(["git", "apply", "fix.patch"], cwd=library.root, check=True)
    assert "selectinload(Author.books)" in (library.root / "app/main.py").read_text()
    ended = alembic(library.root / "alembic.ini", "upgrade", "head", url=database_url)
    assert ended.code == 0, ended.err
    # Models and migrations agree: the next autogenerate would not drop the index.
    check = library.generate("--check", url=database_url)
    assert check.code == 0, check.out + check.err

    after = library.report("--verify", "report.json", code=0)
    assert not rules(after) & rules(before)
    change = next(one for one in after["changes"] if one["name"] == "GET /authors")
    assert change["statements"] == [13, 2]
    assert any(note.endswith("of the report are gone") for note in after["notes"])
    only = library.optimize(*WATCH, "--only", loop["fingerprint"], code=0)
    assert "n-plus-one" not in only.stdout


@pytest.mark.any_sqlalchemy
def test_a_build_server_fails_for_what_is_new(library: Library) -> None:
    fill(library.url, *(line.replace("20000", "2000") for line in ROWS["sqlite"]))
    library.optimize(*WATCH, "--write-baseline", "known.json", code=0)
    # What is there is known, whatever line it is on.
    library.edit("app/main.py", "api = FastAPI()", "\n\napi = FastAPI()")
    library.optimize(*WATCH, "--baseline", "known.json", code=0)
    library.edit(
        "app/main.py",
        "        return list(await session.scalars(select(Author.name).limit(5)))",
        "        ids = (await session.scalars(select(Author.id).limit(8))).all()\n"
        "        found = [await session.get(Author, one) for one in ids]\n"
        "        return [author.name for author in found if author]",
    )
    document = library.report(*WATCH, "--baseline", "known.json")
    new = [one for one in document["findings"] if not one["known"]]
    assert {one["unit"] for one in new if one["confidence"] == "proved"} == {"GET /names"}
    over = library.report(*WATCH, "--budget", "GET /names=3", "--budget", "GET /gone=1", code=33)
    assert [one["name"] for one in over["over_budget"]] == ["GET /names"]
    assert any("GET /gone" in note for note in over["notes"])
    (library.root / "budgets").write_text("# the others\n*=20\nGET /names=9\n")
    library.optimize(*WATCH, "--baseline", "known.json", "--budget", "@budgets", code=31)


@pytest.mark.any_sqlalchemy
def test_one_run_for_people_and_programs(library: Library) -> None:
    fill(library.url, *(line.replace("20000", "2000") for line in ROWS["sqlite"]))
    ended = library.optimize(*WATCH, "--html", "report.html", code=Exit.FINDINGS)
    assert "[n-plus-one]" in ended.stdout or "n-plus-one" in ended.stdout
    assert "app/main.py:" in ended.stdout
    page = (library.root / "report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "n-plus-one" in page
    sarif = json.loads(library.optimize(*WATCH, "--sarif", code=Exit.FINDINGS).stdout)
    results = sarif["runs"][0]["results"]
    assert "n-plus-one" in {one["ruleId"] for one in results}
    assert not [path for path in library.root.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.any_sqlalchemy
def test_without_options_only_the_source_is_read(library: Library) -> None:
    document = library.report(code=0)
    ran = {one["layer"]: one["ran"] for one in document["layers"]}
    assert ran == {
        "code": True, "capture": False, "statements": False, "catalog": False, "plans": False
    }  # fmt: skip
    assert {one["confidence"] for one in document["findings"]} <= {"suspected"}


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--run", "pytest", "--requests", "requests.txt"), 2, "--requests are sent to"),
        (("--url", "sqlite:///x", "--url-env", "X"), 2, "both name a database"),
        (("--layers", "code,plan"), 2, "no layer 'plan'"),
        (("--baseline", "none.json"), 2, "none.json cannot be read"),
        (("--verify", "requests.txt"), 2, "requests.txt is not JSON"),
        (("--verify", "report.json"), 2, "report.json is no report of this program"),
        (("--verify", "asked.json", "--run", "pytest"), 2, "no use for --run"),
        (("--budget", "GET /authors"), 2, "'GET /authors' is no budget"),
        (("--budget", "@none"), 2, "--budget @none: the file cannot be read"),
        (("--only", "N+1"), 2, "--only N+1 is no fingerprint"),
        (("--only", "abcd1234", "--fix"), 2, "--only asks whether a finding is gone"),
        (("--html", "none/report.html"), 2, "There is no folder none"),
        (("--project", "none"), 2, "is not a folder"),
        (("--url", "postgresql://me:s3cret-w0rd@db/shop"), 2, "--url holds a password"),
        (("--url-env", "NOT_THERE"), 20, "NOT_THERE is not set"),
        (("--url-env", "WRONG_URL"), 20, "WRONG_URL holds no URL"),
        (("--run", "no-such-program"), 32, "no-such-program"),
        (("--app", "app.nothing:api"), 2, "app.nothing:api is no FastAPI application"),
        (("--run", "python -c pass"), 34, "not one statement"),
    ],
)
def test_bad_input_is_one_line(
    unused: Library, arguments: tuple[str, ...], code: int, words: str
) -> None:
    before = unused.files()
    environment = {**unused.environment(unused.url), "WRONG_URL": "://s3cret-w0rd"}
    ended = warm.door(DOOR, *arguments, cwd=unused.root, environment=environment)
    assert (ended.returncode, words in ended.stderr) == (code, True), ended.stderr
    assert "s3cret" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert unused.files() == before


@pytest.mark.any_sqlalchemy
def test_an_interrupted_run_leaves_nothing(library: Library, tmp_path: Path) -> None:
    number = tmp_path / "number"
    library.write(
        "slow.py",
        "import os, pathlib, time\n\n"
        f"pathlib.Path({str(number)!r}).write_text(str(os.getpid()) + '.')\n"
        "time.sleep(60)\n",
    )
    before = library.files()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        ["bash", str(DOOR), "--run", "python slow.py", "--html", "report.html"],
        cwd=library.root,
        env={**library.environment(library.url), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert soon(lambda: number.exists() and number.read_text().endswith("."))
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == Exit.INTERRUPTED, said
    assert soon(lambda: not runs(number.read_text()[:-1]))
    assert library.files() == before
    assert list(temporary.iterdir()) == []


def runs(number: str) -> bool:
    return subprocess.run(["ps", "-p", number], capture_output=True, check=False).returncode == 0


def soon(happens: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not (happened := happens()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return happened
