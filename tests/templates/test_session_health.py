"""Liveness and readiness."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import health as health_module
from health import check_live, check_ready
from session_manager import DatabaseConfig, DatabaseSessionManager

REVISION = '''"""{name}"""
revision = "{name}"
down_revision = {down!r}
def upgrade(): pass
def downgrade(): pass
'''


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """An Alembic project of three revisions, r1 to r3. Its env.py must not run."""
    directory = tmp_path / "migrations"
    (directory / "versions").mkdir(parents=True)
    (directory / "env.py").write_text("raise RuntimeError('readiness ran env.py')")
    for name, down in (("r1", None), ("r2", "r1"), ("r3", "r2")):
        (directory / "versions" / f"{name}.py").write_text(REVISION.format(name=name, down=down))
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"
    )
    return directory


async def at(database: DatabaseSessionManager, *revisions: str) -> None:
    async with database.begin() as session:
        await session.execute(
            text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32))")
        )
        await session.execute(text("DELETE FROM alembic_version"))
        for revision in revisions:
            await session.execute(
                text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision}
            )


def test_live_needs_nothing():
    health = check_live()
    assert (health.ok, health.status_code) == (True, 200)


async def test_ready_knows_the_head(database_url: str, scripts: Path):
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        for migrations in (scripts, scripts.parent / "alembic.ini"):
            await at(database)
            health = await check_ready(database, migrations=migrations)
            assert (health.ok, health.status_code) == (False, 503)
            assert health.checks["migrations"] == "at no revision, expected r3"
            for revisions, ok, word in (
                (["r2"], False, "at r2, expected r3"),
                (["r3"], True, "at head"),
                (["r4"], True, "ahead of this code, at r4"),
            ):
                await at(database, *revisions)
                health = await check_ready(database, migrations=migrations)
                assert (health.ok, health.checks["migrations"]) == (ok, word)
        await at(database, "r3")
        assert (await check_ready(database, expected_heads=["r3"])).ok
        assert not (await check_ready(database, expected_heads=["r4"])).ok
        assert (await check_ready(database)).checks["migrations"] == "not checked"


async def test_ready_without_a_version_table(database_url: str, scripts: Path):
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        health = await check_ready(database, migrations=scripts)
        assert health.checks["migrations"] == "at no revision, expected r3"
        assert health.checks["database"] == "answers"


async def test_ready_agrees_with_alembic(database_url: str, scripts: Path):
    (scripts / "env.py").write_text(
        "from alembic import context\n"
        "connection = context.config.attributes['connection']\n"
        "context.configure(connection=connection)\n"
        "with context.begin_transaction():\n    context.run_migrations()\n"
    )
    config = Config(scripts.parent / "alembic.ini")

    def upgrade(connection: object) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(upgrade)
        assert (await check_ready(database, migrations=scripts)).checks["migrations"] == "at head"


async def test_ready_without_alembic(
    tmp_path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(__import__("sys").modules, "alembic.config", None)
    health_module._revisions.cache_clear()
    async with DatabaseSessionManager(DatabaseConfig(f"sqlite:///{tmp_path}/a.db")) as database:
        health = await check_ready(database, migrations=scripts)
    assert health.ok
    assert health.checks["migrations"] == "not checked: Alembic is not installed"


@pytest.mark.faults
@pytest.mark.dialects("postgresql", "mysql")
async def test_database_down(database_url: str, dialect: str, caplog: pytest.LogCaptureFixture):
    """A probe's answer is often public, so why is for the log alone."""
    config = DatabaseConfig(f"{dialect}://u:s3cret@127.0.0.1:1/d")
    async with DatabaseSessionManager(config) as database:
        health = await check_ready(database)
    assert not health.ok
    assert health.checks["database"] == "failed: OperationalError"
    assert "127.0.0.1" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.faults
@pytest.mark.dialects("postgresql", "mysql")
async def test_silent_server_is_given_up_in_time(database_url: str, dialect: str):
    connected = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with DatabaseSessionManager(
        DatabaseConfig(f"{dialect}://u:p@127.0.0.1:{port}/d")
    ) as database:
        async with asyncio.timeout(60):  # the server would be silent for ever
            health = await check_ready(database, timeout=0.3)
        assert connected
        assert (health.ok, health.status_code) == (False, 503)
        assert health.checks["database"] == "no answer within 0.3 seconds"
        async with asyncio.timeout(60):
            while database.probe_engine.pool.checkedout():  # type: ignore[attr-defined]  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    server.close()


async def test_a_busy_pool_is_no_database_that_is_down(database_url: str):
    """One connection is left for probes (#14): it was "not ready", which made others busier."""
    config = DatabaseConfig(database_url, pool_size=2, max_overflow=0, lock_timeout=30)
    async with DatabaseSessionManager(config) as database:
        async with database.read_only_session() as one, database.read_only_session() as two:
            await one.execute(text("SELECT 1"))
            await two.execute(text("SELECT 1"))
            health = await check_ready(database)
        assert health.ok
        assert health.checks["pool"] == "2 of 2 connections in use"
        assert database.probe_engine.pool.capacity == 1  # type: ignore[attr-defined]


async def test_ready_works_without_a_pool(database_url: str):
    """An engine of one's own, as references/pools.md recommends for serverless."""
    engine = create_async_engine(database_url, poolclass=NullPool)
    health = await check_ready(engine)
    assert (health.ok, health.checks["pool"]) == (True, "no pool")
    await engine.dispose()


async def test_failed_statement_elsewhere_does_not_matter(database_url: str):
    """And neither does a writer that holds SQLite's lock."""
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        async with database.session() as session:
            with pytest.raises(Exception, match="nonsense"):
                await session.execute(text("SELECT nonsense"))
            assert (await check_ready(database)).ok
        async with database.session() as writer:
            await writer.execute(text("CREATE TABLE t (id INTEGER)"))
            assert (await check_ready(database)).ok
