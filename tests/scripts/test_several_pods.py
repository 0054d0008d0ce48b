"""Eight pods start at once and each runs `alembic upgrade head`: 8 of 8 exit 0.

`tests/templates/test_env_upgrade.py` shows it for four processes of the plain kind. Here the
history is that of a deploy: the revisions that --expand-contract writes, with a trigger, batches
that commit by themselves, and an index that is built concurrently, while rows are written.
"""

import asyncio
import contextlib
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from templates.env_project import EnvProject
from toolkit.migration.expand_contract import (
    Change,
    Column,
    Index,
    RenameColumn,
    Table,
    expand_contract,
)

pytestmark = pytest.mark.any_sqlalchemy  # the commands of both are in test_env_upgrade.py

PODS = 8
TABLE = Table("note")
BODY = Column("body", "sa.String(100)", "VARCHAR(100)")
FIRST = """
op.create_table(
    'note', sa.Column('id', sa.Integer, primary_key=True), sa.Column('body', sa.String(100))
)
"""
INDEX = Index("ix_note_body", ("body",))
ROWS = "INSERT INTO note (body) VALUES " + ", ".join(f"('note {number}')" for number in range(3000))


def write(project: EnvProject, change: Change, dialect: str, *, until: str) -> str:
    """The revisions of a change up to one of them; the last one's id."""
    for revision in expand_contract(change, dialect=dialect, parent="r1", slug="pods"):
        (project.root / "alembic/versions" / revision.file).write_text(revision.text)
        if revision.revision == until:
            break
    return until


async def start_all(project: EnvProject) -> list[str]:
    pods = [project.start("-m", "alembic", "upgrade", "head") for _ in range(PODS)]
    ended = await asyncio.gather(*(asyncio.to_thread(pod.communicate, timeout=180) for pod in pods))
    outputs = [output for output, _ in ended]
    assert [pod.returncode for pod in pods] == [0] * PODS, "\n".join(outputs)
    return outputs


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> EnvProject:
    """Nothing has run yet: the version table itself is made by one of them."""
    project = EnvProject.create(tmp_path / "a project", database_url)
    project.revision(1, f"import time; time.sleep(0.3)\n{FIRST.strip()}\nop.execute({ROWS!r})")
    return project


def assert_each_ran_once(outputs: list[str], *steps: str) -> None:
    told = "".join(outputs)
    assert [told.count(f"Running upgrade {step}") for step in steps] == [1] * len(steps)


@pytest.mark.dialects("mysql")
async def test_eight_pods_expand_and_backfill(project: EnvProject) -> None:
    change = RenameColumn(TABLE, BODY, "text", (INDEX,), ("ix_note_text",))
    write(project, change, "mysql", until="pods_backfill")
    assert_each_ran_once(await start_all(project), " -> r1", "r1 -> pods_expand", "pods_expand -> ")
    filled = "SELECT count(*) FROM note WHERE text = body"
    assert await asyncio.to_thread(project.execute, filled) == [(3000,)]


@pytest.mark.dialects("postgresql")
async def test_eight_pods_and_an_index_built_beside_writers(project: EnvProject) -> None:
    """CREATE INDEX CONCURRENTLY waits for open transactions: a pod that waits for its turn must
    not be one of them, or both wait for ever."""
    change = RenameColumn(TABLE, BODY, "text", (INDEX,), ("ix_note_text",))
    write(project, change, "postgresql", until="pods_backfill")
    address = make_url(project.url).set(drivername="postgresql")
    writer = await asyncpg.connect(address.render_as_string(hide_password=False))
    pods = asyncio.create_task(start_all(project))
    written = 0
    while not pods.done() or not written:
        await asyncio.sleep(0.02)
        with contextlib.suppress(asyncpg.UndefinedTableError):  # until the first has made it
            await writer.execute("INSERT INTO note (body) VALUES ('new')")
            written += 1
    assert_each_ran_once(await pods, " -> r1", "r1 -> pods_expand", "pods_expand -> ")
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_note_text'::regclass"
    assert await writer.fetchval(valid) is True
    assert await writer.fetchval("SELECT count(*) FROM note WHERE text = body") == 3000 + written
    assert await writer.fetchval("SELECT count(*) FROM note WHERE text IS NULL") == 0
    await writer.close()


@pytest.mark.dialects("sqlite")
async def test_eight_pods_and_one_file(project: EnvProject) -> None:
    change = RenameColumn(TABLE, BODY, "text")
    write(project, change, "sqlite", until="pods_contract")
    assert_each_ran_once(await start_all(project), " -> r1", "pods_backfill -> ")
