"""The patch that optimize-queries.sh --fix prints: in every form that a source may have."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from toolkit.migration.bench import Bench
from toolkit.project.facts import MappedClass, Project
from toolkit.queries.finding import Confidence, Fix, Index, Layer, Loader, QueryFinding
from toolkit.queries.fix import sort_out
from toolkit.queries.patches import patches

pytestmark = pytest.mark.any_sqlalchemy

HEAD = "from sqlalchemy import ForeignKey\nfrom sqlalchemy.orm import mapped_column\n\n"
NEW = Index("ix_books_author_id_title", "books", ("author_id", "title DESC"))
OLD = Index("ix_books_title", "books", ("title",), drop=True)


def patched(root: Path, source: str, fix: Fix, name: str = "Book") -> tuple[str, list[str]]:
    """The source after `git apply`, and what is left to a person."""
    file = root / "app" / "models.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(source)
    base = "app.models:Base"
    model = MappedClass(name, "app.models", file, 1, "books", base)
    project = Project(
        root=root,
        import_root=root,
        package_manager="pip",
        dependency_file=None,
        app=None,
        metadata=(),
        mapped=(model,),
        urls=(),
        alembic=(),
        create_all=(),
    )
    finding = QueryFinding("rule", Layer.PLANS, Confidence.MEASURED, "words", fix=fix)
    patch, left = patches([finding, finding], project)
    if patch:
        (root / "fix.patch").write_text(patch)
        subprocess.run(["git", "apply", "fix.patch"], cwd=root, check=True)
    compile(file.read_text(), "models.py", "exec")
    return file.read_text(), left


def model(*lines: str) -> str:
    return HEAD + "class Book(Base):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    "lines",
    [
        ('__tablename__ = "books"', "id = mapped_column(primary_key=True)"),
        ('__tablename__ = "books"', '__table_args__ = (Index("ix_books_other", "other"),)'),
        (
            '__tablename__ = "books"',
            "__table_args__ = (",
            '    Index("ix_books_other", "other"),',
            '    {"schema": "shop"},',
            ")",
        ),
    ],
)
def test_an_index_goes_into_the_model(tmp_path: Path, lines: tuple[str, ...]) -> None:
    source, left = patched(tmp_path, model(*lines), Fix("ddl", "", index=NEW))
    assert left == []
    assert source.count('Index("ix_books_author_id_title", "author_id", text("title DESC"))') == 1
    assert source.startswith("from sqlalchemy import ForeignKey, Index, text\n")


def test_and_into_a_table_of_core(tmp_path: Path) -> None:
    source = HEAD + 'books = Table(\n    "books",\n    metadata,\n    Column("author_id"),\n)\n'
    source, left = patched(tmp_path, source, Fix("ddl", "", index=NEW), "books")
    assert left == []
    assert '    Column("author_id"),\n    Index("ix_books_author_id_title"' in source


@pytest.mark.parametrize(
    ("lines", "gone"),
    [
        (('__table_args__ = (Index("ix_books_title", "title"),)', "id = 1"), "__table_args__"),
        (('__table_args__ = (Index("ix_a", "a"), Index("ix_books_title", "title"))',), "title"),
        (('__table_args__ = (Index("ix_books_title", "title"), Index("ix_a", "a"))',), "title"),
        (('__table_args__ = (Index("ix_ä", "ä"), Index("ix_books_title", "title"))',), "title"),
        (("title: Mapped[str] = mapped_column(String(9), index=True)",), "index=True"),
    ],
)
def test_an_index_is_taken_out(tmp_path: Path, lines: tuple[str, ...], gone: str) -> None:
    source, left = patched(tmp_path, model(*lines), Fix("ddl", "", index=OLD))
    assert left == []
    assert gone not in source
    assert ('Index("ix_a", "a")' in source) == any("ix_a" in line for line in lines)


@pytest.mark.parametrize(
    ("lines", "index"),
    [
        (('__tablename__ = "books"', "__table_args__ = make_args()"), NEW),
        (("__tablename__, other = names",), NEW),
        (("title = column_of('title')",), OLD),
    ],
)
def test_other_forms_are_left_to_a_person(
    tmp_path: Path, lines: tuple[str, ...], index: Index
) -> None:
    before = model(*lines)
    source, left = patched(tmp_path, before, Fix("ddl", "", index=index))
    assert source == before
    assert [index.name in words for words in left] == [True]


SELECTS = """\
async def other(session):
    return await session.scalars(select(Book))


async def books(session):
    query = select(Book).where(Book.price > 3)
    return await session.scalars(query)


async def two(session):
    await session.scalars(select(Book))
    return await session.scalars(select(Book).limit(1))
"""


def test_a_loader_option_goes_to_the_select_of_its_function(tmp_path: Path) -> None:
    line = 3 + SELECTS.split("\n").index("    return await session.scalars(query)") + 1
    loader = Loader("app/models.py", line, "Book", "selectinload(Book.author)")
    source, left = patched(tmp_path, HEAD + SELECTS, Fix("code", "", loader=loader))
    assert left == []
    assert source.count("selectinload(Book.author)") == 1
    assert "select(Book).options(selectinload(Book.author)).where(Book.price > 3)" in source
    assert "from sqlalchemy.orm import mapped_column, selectinload\n" in source


def test_where_it_could_be_either_a_person_says_which(tmp_path: Path) -> None:
    line = 3 + SELECTS.split("\n").index("    await session.scalars(select(Book))") + 1
    loader = Loader("app/models.py", line, "Book", "selectinload(Book.author)")
    source, left = patched(tmp_path, HEAD + SELECTS, Fix("code", "", loader=loader))
    assert source == HEAD + SELECTS
    assert left == [f"app/models.py:{line}: .options(selectinload(Book.author))"]


def test_a_revision_has_what_the_migrations_lack() -> None:
    """The database may be behind them: an index that they make is not written again."""
    schema = {"column": {"id": {"table": "books"}}, "index": {"there": {"name": "ix_there"}}}
    bench = cast(Bench, SimpleNamespace(schema=lambda: schema))
    made = [Index(name, "books", ("a",)) for name in ("ix_new", "ix_there")]
    taken = [Index(name, "books", ("a",), drop=True) for name in ("ix_there", "ix_gone")]
    elsewhere = Index("ix_other", "films", ("a",))
    there, missing = sort_out(bench, [*made, *taken, elsewhere])
    assert there == [made[0], taken[0]]
    assert missing == [elsewhere]
