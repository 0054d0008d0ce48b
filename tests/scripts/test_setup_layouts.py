"""Every layout, on SQLite and PostgreSQL, through the bash entry point."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from projects import warm
from projects.layouts import LAYOUTS, Layout
from projects.setup_door import alembic, environment, generate, setup, tree
from projects.shop import ADDRESS, Shop
from toolkit.setup.backups import FOLDER

pytestmark = pytest.mark.dialects("sqlite", "postgresql")
Factory = Callable[[str], Layout]


async def table_names(url: str) -> set[str]:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    finally:
        await engine.dispose()


# The requests, in a process of the project: it knows nothing of the skill.
DRIVE = """
import asyncio, importlib, sys
import httpx

async def main(target):
    module, name = target.split(":")
    app = getattr(importlib.import_module(module), name)
    engine = next(m.engine for n, m in sys.modules.items() if hasattr(m, "engine")
                  and type(m.engine).__name__ == "AsyncEngine")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answers = [
            await client.post("/items", json={"name": "tea"}),
            await client.post("/items", json={"name": "tea"}),
            await client.post("/items/1/notes", json={"text": "green"}),
            await client.get("/items/1"),
            await client.get("/items"),
            await client.get("/items/9"),
        ]
    await engine.dispose()
    print([a.status_code for a in answers], answers[3].json(), answers[4].json())

asyncio.run(main(*sys.argv[1:]))
"""


def answers(layout: Layout, url: str) -> str:
    _, output = warm.run(
        ["-c", f"import sys; sys.path.insert(0, {str(layout.import_root)!r})\n{DRIVE}", layout.app],
        cwd=layout.root,
        environment=environment(url),
    )
    return output.strip()


# These differ in their folders, not in what they ask of SQLAlchemy or of a database.
FOLDERS = ("flat", "monorepo", "own_toolkit", "src")


@pytest.mark.sweep(every=4)
@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_a_project_ends_with_a_migrated_database_wherever_its_files_are(
    name: str, project_factory: Factory, database_url: str
) -> None:
    assert_it_ends_with_a_migrated_database(project_factory(name), database_url)


# And these in their models.
MODELS = ("dataclass_models", "sqlmodel")


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.dialects("sqlite")
def test_a_project_ends_with_a_migrated_database_whatever_its_models_are(
    name: str, project_factory: Factory, database_url: str
) -> None:
    assert_it_ends_with_a_migrated_database(project_factory(name), database_url)


@pytest.mark.sweep(every=2)
@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize("name", sorted({*LAYOUTS} - {*FOLDERS, *MODELS, "app"}))
@pytest.mark.dialects("postgresql")
def test_a_project_ends_with_a_migrated_database(
    name: str, project_factory: Factory, database_url: str
) -> None:
    assert_it_ends_with_a_migrated_database(project_factory(name), database_url)


@pytest.mark.sweep(every=3)
@pytest.mark.dialects("postgresql", "sqlite", "mysql")
@pytest.mark.older_sqlalchemy_on("postgresql")
def test_the_same_project_does_on_each_database(
    project_factory: Factory, database_url: str
) -> None:
    assert_it_ends_with_a_migrated_database(project_factory("app"), database_url)


def assert_it_ends_with_a_migrated_database(layout: Layout, url: str) -> None:
    before, is_sqlite = tree(layout.directory), url.startswith("sqlite")
    flags = ["--force"] if layout.name == "sync_alembic" else []

    # A plan is about files: SQLite shows it.
    planned = setup(layout.directory, "--dry-run", "--json", *flags, url=url) if is_sqlite else None
    if planned:
        assert planned.code == 0, planned.err
        assert planned.document["status"] == "planned"
        assert tree(layout.directory) == before

    first = setup(layout.directory, "--json", *flags, url=url)
    assert first.code == 0, first.err
    found = first.document
    assert not planned or found["diff"] == planned.document["diff"]
    assert found["project"]["root"] == str(layout.root)
    assert found["project"]["import_root"] == str(layout.import_root)
    assert found["project"]["base"] == layout.base
    assert found["project"]["url_from"] == layout.url
    assert set(found["proof"]["tables"]) == set(layout.tables)
    assert "offline SQL" in found["proof"]["steps"]
    after = tree(layout.directory)
    assert not [path for path in after if "__pycache__" in path or "journal" in path]

    second = setup(layout.directory, "--json", "--no-prove", url=url)
    assert second.code == 0, second.err
    assert second.document["status"] == "nothing-to-do"
    assert tree(layout.directory) == after

    made = generate(layout.directory, "all of it", url=url)
    # That one has all its migrations.
    assert made.code == (11 if layout.name == "broken_async_alembic" else 0), made.err
    assert asyncio.run(table_names(url)) == set()  # the proofs were somewhere else
    ini = layout.ini or layout.root / "alembic.ini"
    # Where only folders differ, the proof has said that there is no difference left.
    for command in (["upgrade", "head"], *([] if layout.name in FOLDERS else [["check"]])):
        ended = alembic(ini, *command, url=url)
        assert ended.code == 0, ended.err
    assert asyncio.run(table_names(url)) == {*layout.tables, "alembic_version"}
    assert answers(layout, url) == (
        "[201, 409, 201, 200, 200, 404] "
        "{'id': 1, 'name': 'tea', 'notes': ['green']} [{'id': 1, 'name': 'tea'}]"
    )


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_a_model_added_later_is_added_to_env_py(
    project_factory: Factory, database_url: str
) -> None:
    layout = project_factory("app")
    assert setup(layout.directory, url=database_url).code == 0
    env = layout.root / "alembic" / "env.py"
    model = (layout.root / "app/models/note.py").read_text()
    tag = model.replace("class Note", "class Tag").replace('"notes"', '"tags"')
    (layout.root / "app/models/tag.py").write_text(tag)
    by_hand = env.read_text().replace(
        '    """The tables that the migrations are about."""\n', '    """Mine."""\n'
    )
    env.write_text(by_hand)

    again = setup(layout.directory, "--json", url=database_url)

    assert again.code == 0, again.err
    assert [Path(change["path"]) for change in again.document["changes"]] == [env]
    assert set(again.document["proof"]["tables"]) == {*layout.tables, "tags"}
    text = env.read_text()
    assert '    "app.models.tag",\n' in text
    assert text.replace('    "app.models.tag",\n', "") == by_hand


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_the_broken_env_py_gets_its_import_and_keeps_the_rest(
    project_factory: Factory, database_url: str
) -> None:
    layout = project_factory("broken_async_alembic")
    env = layout.root / "migrations" / "env.py"
    before = env.read_text()

    ended = setup(layout.directory, "--json", url=database_url)

    assert ended.code == 0, ended.err
    added = [line for line in env.read_text().splitlines() if line not in before.splitlines()]
    assert [line for line in added if line.startswith("import")] == [
        "import app.models.note as _app_models_note  # noqa: E402, F401"
    ]
    assert [line for line in before.splitlines() if line not in env.read_text().splitlines()] == []
    (backup,) = (layout.root / FOLDER).glob("*/migrations/env.py")
    assert backup.read_text() == before
    assert ended.document["backups"] == [str(backup)]


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
def test_seed_37_a_synchronous_env_py_is_replaced_only_by_force(
    project_factory: Factory, database_url: str
) -> None:
    layout = project_factory("sync_alembic")
    env = layout.root / "alembic" / "env.py"
    before = tree(layout.directory)
    # It does its work, with synchronous drivers (#12).
    kept = setup(layout.directory, url=database_url)
    assert kept.code == 0, kept.err
    assert "nothing to do" in kept.out
    assert tree(layout.directory) == before

    text = env.read_text().replace('"+aiosqlite": ""', '"+other": ""')
    env.write_text(text)
    before = tree(layout.directory)
    refused = setup(layout.directory, url=database_url)
    assert refused.code == 7
    assert "--force" in refused.err
    # Whoever reads it pays for each line (#16).
    assert len(refused.out.splitlines()) <= 60
    assert "more lines: --full-diff" in refused.out
    whole = setup(layout.directory, "--full-diff", url=database_url)
    assert whole.code == 7
    assert "+MODEL_MODULES: tuple[str, ...] = (" in whole.out
    assert tree(layout.directory) == before

    forced = setup(layout.directory, "--force", url=database_url)
    assert forced.code == 0, forced.err
    (backup,) = (layout.root / FOLDER).glob("*/alembic/env.py")
    assert backup.read_text() == text
    assert (layout.root / "alembic/versions/0001_first.py").exists()


def test_a_base_of_a_library_is_what_env_py_says(tmp_path: Path) -> None:
    """No class of the project is a base: what env.py hands to Alembic is, and that is enough."""
    shop = Shop(tmp_path / "shop")
    library = (
        "from sqlalchemy.orm import DeclarativeBase\n\n\nclass Base(DeclarativeBase):\n    pass\n"
    )
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "of_a_library.py").write_text(library)
    shop.edit(
        "app/db.py", "from sqlalchemy.orm import DeclarativeBase", "from of_a_library import Base"
    )
    shop.edit("app/db.py", "\n\nclass Base(DeclarativeBase):\n    pass\n", "")
    shop.write("alembic.ini", "[alembic]\nscript_location = alembic\nprepend_sys_path = .\n")
    shop.add_first()
    # Where env.py names it, it is the base; tables of a second metadata are none of its (#12).
    shop.write(
        "app/importer.py",
        "from sqlalchemy import Column, Integer, MetaData, Table\n\nmetadata = MetaData()\n"
        "others = Table('others', metadata, Column('id', Integer))\n",
    )
    looked = setup(shop.root, "--dry-run", url=ADDRESS["sqlite"], PYTHONPATH=str(site))
    assert "base         of_a_library:Base" in looked.out, looked.out
    assert "nothing to do" in looked.out
    (shop.root / "app" / "importer.py").unlink()
    shop.edit("alembic/env.py", "Base.metadata", "getattr(Base, 'metadata')")
    before = shop.files()
    ended = setup(shop.root, url=ADDRESS["sqlite"], PYTHONPATH=str(site))
    assert ended.code == 0, ended.err
    assert "nothing to do" in ended.out
    assert "the tables that it hands to Alembic count (1)" in ended.out
    assert "the metadata has all tables of the source (1)" in ended.out
    assert {name for name in shop.files() if not name.endswith(".pyc")} == before.keys()
