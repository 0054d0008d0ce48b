"""env.py runs migrations: every dialect, several processes, a caller's connection, no debris."""

import asyncio
import textwrap
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from servers import pgbouncer
from servers.postgres import PostgresServer
from templates.env_project import EnvProject, execute

TABLE = "op.create_table('note', sa.Column('id', sa.Integer, primary_key=True))"
PODS = 4


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> EnvProject:
    return EnvProject.create(tmp_path / "a project", database_url)


def test_upgrade_and_downgrade(project: EnvProject) -> None:
    project.revision(1, TABLE, "op.drop_table('note')")
    project.revision(2, "op.add_column('note', sa.Column('body', sa.Text))")
    project.alembic("upgrade", "head")
    project.execute(
        "INSERT INTO note (body) VALUES ('kept')"
        if "sqlite" in project.url
        else "INSERT INTO note (id, body) VALUES (1, 'kept')"
    )
    assert project.execute("SELECT body FROM note") == [("kept",)]
    assert "r2 (head)" in project.alembic("current", "--check-heads")
    project.alembic("downgrade", "base")
    assert project.execute("SELECT version_num FROM alembic_version") == []
    project.alembic("stamp", "r2")
    assert project.execute("SELECT version_num FROM alembic_version") == [("r2",)]
    project.alembic("stamp", "base")
    project.alembic("upgrade", "+1")
    project.alembic("downgrade", "-1")


def test_concurrent_upgrades_all_succeed(project: EnvProject) -> None:
    project.revision(1, f"import time; time.sleep(0.5); {TABLE}")
    project.revision(2, "op.add_column('note', sa.Column('body', sa.Text))")
    pods = [project.start("-m", "alembic", "upgrade", "head") for _ in range(PODS)]
    outputs = [pod.communicate(timeout=120)[0] for pod in pods]
    assert [pod.returncode for pod in pods] == [0] * PODS, "\n".join(outputs)
    assert "".join(outputs).count("Running upgrade  -> r1") == 1
    assert project.execute("SELECT version_num FROM alembic_version") == [("r2",)]


@pytest.mark.dialects("postgresql")
def test_concurrent_upgrades_with_an_index_built_concurrently(project: EnvProject) -> None:
    project.revision(1, TABLE)
    project.revision(
        2,
        """
        import time
        time.sleep(0.5)
        with op.get_context().autocommit_block():
            op.create_index('ix_note', 'note', ['id'], postgresql_concurrently=True)
        """,
    )
    pods = [project.start("-m", "alembic", "upgrade", "head") for _ in range(PODS)]
    outputs = [pod.communicate(timeout=120)[0] for pod in pods]
    assert [pod.returncode for pod in pods] == [0] * PODS, "\n".join(outputs)
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_note'::regclass"
    assert project.execute(valid) == [(True,)]


HOLD = {
    "postgresql": "SELECT pg_advisory_lock(hashtext('alembic'))",
    "mysql": "SELECT GET_LOCK(CONCAT('alembic_', MD5(DATABASE())), 0)",
}


@pytest.mark.dialects("postgresql", "mysql")
async def test_a_waiting_process_gives_up_and_readers_do_not_wait(
    project: EnvProject, dialect: str
) -> None:
    project.revision(1, TABLE)
    project.variables["ALEMBIC_LOCK_WAIT"] = "1"
    engine = create_async_engine(project.url, poolclass=NullPool)
    async with engine.connect() as holder:
        await holder.execute(text(HOLD[dialect]))
        for command in (("upgrade", "head"), ("stamp", "head"), ("downgrade", "base")):
            output = await asyncio.to_thread(project.alembic, *command, fails=True)
            assert "another process has been migrating this database for 1 seconds" in output
            assert "Traceback" not in output
        await asyncio.to_thread(project.alembic, "current")
        await asyncio.to_thread(project.alembic, "revision", "-m", "by hand")
    await engine.dispose()


@pytest.mark.dialects("sqlite")
def test_a_waiting_sqlite_process_gives_up(project: EnvProject) -> None:
    waits = "op.get_bind().exec_driver_sql('PRAGMA busy_timeout').scalar()"
    project.revision(1, f"{TABLE}\nprint('waits:', {waits})")
    project.variables["ALEMBIC_LOCK_WAIT"] = "1"
    holder = f"import sqlite3, time; c = sqlite3.connect({project.url.split('///')[1]!r}); "
    with project.start(
        "-c", holder + "c.execute('BEGIN IMMEDIATE'); print(flush=True); time.sleep(60)"
    ) as sleeper:
        assert sleeper.stdout is not None
        sleeper.stdout.readline()
        assert "database is locked" in project.alembic("upgrade", "head", fails=True)
        assert "r1 (head)" not in project.alembic("current")
        sleeper.kill()
    assert "waits: 1000\n" in project.alembic("upgrade", "head")


@pytest.mark.dialects("postgresql", "mysql")
def test_a_migration_does_not_wait_long_for_a_table(project: EnvProject, dialect: str) -> None:
    setting = {"postgresql": "lock_timeout", "mysql": "lock_wait_timeout"}[dialect]
    ask = {"postgresql": f"SHOW {setting}", "mysql": f"SELECT @@SESSION.{setting}"}[dialect]
    project.revision(1, f"print('setting:', op.get_bind().exec_driver_sql({ask!r}).scalar())")
    assert "setting: 4" in project.alembic("upgrade", "head")


@pytest.mark.dialects("sqlite", "postgresql")
def test_seed_41_a_failed_migration_leaves_nothing_behind(
    project: EnvProject, dialect: str
) -> None:
    project.revision(1, TABLE)
    project.revision(
        2, "op.create_table('half', sa.Column('id', sa.Integer))\nraise SystemError('no')"
    )
    assert "SystemError: no" in project.alembic("upgrade", "head", fails=True)
    project.alembic("current")
    tables = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    }[dialect]
    names = {name for (name,) in project.execute(tables)}
    # PostgreSQL keeps each revision that was done, SQLite runs all of them in one transaction.
    assert names == ({"note", "alembic_version"} if dialect == "postgresql" else set())
    project.revision(2, "op.create_table('half', sa.Column('id', sa.Integer))")
    project.alembic("upgrade", "head")


@pytest.mark.dialects("postgresql")
def test_a_revision_may_change_a_table_that_it_has_read(project: EnvProject) -> None:
    project.revision(
        1, "op.create_table('note', sa.Column('id', sa.Integer), sa.Column('n', sa.Integer))"
    )
    project.revision(
        2,
        """
        read = sa.text('SELECT * FROM note')
        op.get_bind().execute(read).all()
        op.alter_column('note', 'n', type_=sa.BigInteger)
        op.add_column('note', sa.Column('extra', sa.Text))
        op.get_bind().execute(read).all()
        """,
    )
    project.alembic("upgrade", "head")


@pytest.mark.dialects("sqlite")
def test_a_rebuilt_table_keeps_the_rows_of_its_children(project: EnvProject) -> None:
    project.revision(
        1,
        """
        op.create_table('parent', sa.Column('id', sa.Integer, primary_key=True),
            sa.Column('n', sa.Integer))
        op.create_table('child', sa.Column('id', sa.Integer, primary_key=True),
            sa.Column('parent_id', sa.Integer, sa.ForeignKey('parent.id', ondelete='CASCADE')))
        op.execute('INSERT INTO parent (id, n) VALUES (1, 1)')
        op.execute('INSERT INTO child (id, parent_id) VALUES (1, 1)')
        """,
    )
    project.alembic("upgrade", "head")
    project.revision(
        2,
        """
        with op.batch_alter_table('parent') as batch:
            batch.alter_column('n', type_=sa.BigInteger, nullable=False)
        """,
    )
    caller = """
    from sqlalchemy import create_engine, event
    engine = create_engine(URL)
    @event.listens_for(engine, "connect")
    def enforce(connection, _):
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
    @event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    with engine.OPEN() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        print("enforced:", connection.exec_driver_sql("PRAGMA foreign_keys").scalar())
    """.replace("URL", repr(project.url.replace("+aiosqlite", "")))
    # Inside a transaction SQLite ignores the PRAGMA that would save the rows.
    refused = project.script(caller.replace("OPEN", "begin"), fails=True)
    assert "rebuilds a table while SQLite's foreign keys are enforced" in refused
    assert project.execute("SELECT version_num FROM alembic_version") == [("r1",)]
    assert "enforced: 1" in project.script(caller.replace("OPEN", "connect"))
    assert project.execute("SELECT count(*) FROM child") == [(1,)]
    assert project.execute("SELECT version_num FROM alembic_version") == [("r2",)]


async def upgrade_in_this_process(project: EnvProject, connection: object) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(str(project.root / "alembic.ini"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


CALLER = """
import asyncio, logging
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

class Undo(Exception): ...

async def main():
    engine = create_async_engine(URL)
    def upgrade(connection):
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    async with engine.connect() as connection:
        await connection.begin()
        await connection.run_sync(upgrade)
        print("still the caller's:", connection.in_transaction(), connection.closed)
        await connection.rollback()
    async with engine.connect() as connection:
        print("before:", await connection.run_sync(lambda c: engine.dialect.has_table(c, "note")))
        await connection.rollback()
        await asyncio.gather(*[other(engine, upgrade) for _ in range(2)])
        await connection.run_sync(upgrade)
        print("after:", await connection.run_sync(lambda c: engine.dialect.has_table(c, "note")),
              connection.closed)
    logging.getLogger("myapp").warning("heard")
    await engine.dispose()

async def other(engine, upgrade):
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)

logger = logging.getLogger("myapp")
asyncio.run(main())
print("disabled:", logger.disabled, "root level:", logging.getLogger().level)
"""


@pytest.mark.dialects("postgresql")
def test_a_callers_connection_in_a_running_loop(project: EnvProject) -> None:
    project.revision(1, TABLE)
    # Two tasks of one loop, each with a connection: one may not block the loop for the other.
    output = project.script(
        CALLER.replace("URL", repr(project.url)).replace(
            "await asyncio.gather(*[other(engine, upgrade) for _ in range(2)])", ""
        )
    )
    assert "still the caller's: True False" in output
    assert "before: False" in output
    assert "after: True False" in output
    assert "disabled: False root level: 30" in output


@pytest.mark.dialects("sqlite", "mysql")
def test_a_callers_connection(project: EnvProject) -> None:
    project.revision(1, TABLE, "op.drop_table('note')")
    project.script(
        f"""
        import asyncio
        from sqlalchemy.ext.asyncio import create_async_engine

        async def main():
            engine = create_async_engine({project.url!r})
            def upgrade(connection):
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            async with engine.connect() as connection:
                await connection.run_sync(upgrade)
                assert not connection.closed
                await connection.run_sync(lambda c: command.downgrade(config, "base"))
                await connection.run_sync(upgrade)
            await engine.dispose()

        asyncio.run(main())
        """
    )
    assert project.execute("SELECT version_num FROM alembic_version") == [("r1",)]


@pytest.mark.dialects("postgresql")
def test_a_callers_transaction_keeps_the_lock_until_its_commit(project: EnvProject) -> None:
    project.revision(1, TABLE)
    project.variables["ALEMBIC_LOCK_WAIT"] = "1"
    output = project.script(
        f"""
        import subprocess, sys
        from sqlalchemy import create_engine
        engine = create_engine({project.url.replace("asyncpg", "psycopg")!r})
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            other = [sys.executable, "-m", "alembic", "upgrade", "head"]
            print(subprocess.run(other, capture_output=True, text=True).stderr)
        subprocess.run(other, check=True)
        """
    )
    assert "another process has been migrating" in output


@pytest.mark.dialects("sqlite")
def test_a_running_loop_without_a_connection_is_told_what_to_do(project: EnvProject) -> None:
    output = project.script(
        """
        import asyncio
        async def main():
            command.upgrade(config, "head")
        asyncio.run(main())
        """,
        fails=True,
    )
    assert "CommandError: an event loop is running: pass a connection" in output
    assert "never awaited" not in output


@pytest.mark.dialects("sqlite")
def test_seed_42_application_loggers_stay_enabled(project: EnvProject) -> None:
    project.edit_env(
        "if context.is_offline_mode():",
        "import logging\nprint('enabled:', not logging.getLogger('app.models').disabled)\n"
        "if context.is_offline_mode():",
    )
    project.models("import logging\nlogging.getLogger('app.models').warning('imported')")
    project.edit_env("\nconfig, LOCK_WAIT", "\nimport app.models\nconfig, LOCK_WAIT")
    assert "enabled: True" in project.alembic("current")


def test_offline_sql(project: EnvProject, dialect: str) -> None:
    project.revision(1, TABLE, "op.drop_table('note')")
    script = project.alembic("upgrade", "head", "--sql")
    assert "CREATE TABLE note" in script
    assert ("COMMIT;" in script) is (dialect != "mysql")
    assert "DROP TABLE note" in project.alembic("downgrade", "r1:base", "--sql")
    project.alembic("upgrade", "head")  # nothing was done before
    if dialect == "sqlite":
        statements = [s for s in script.split(";") if s.strip() and "INFO" not in s]
        assert any("alembic_version" in statement for statement in statements)


@pytest.mark.dialects("sqlite")
def test_a_broken_model_module_is_named(project: EnvProject) -> None:
    project.revision(1, TABLE)
    project.models("import this_is_not_installed")
    output = project.alembic("upgrade", "head", fails=True)
    expected = "model module 'app.models' does not import: ModuleNotFoundError"
    assert expected in textwrap.dedent(output)
    assert "this_is_not_installed" in output
    words = "passwd='se cret' pwd=cret PASSWORD=cret"
    wrong = f"postgresql://me:se@cret@host/db is wrong, {words} user=u"
    project.models(f"raise ValueError({wrong!r})")
    output = project.alembic("upgrade", "head", fails=True)
    assert "me:***@host/db is wrong, passwd=*** pwd=*** PASSWORD=*** user=u" in output
    assert "cret" not in output


@pytest.mark.dialects("sqlite")
async def test_the_helper_reads_the_real_database(project: EnvProject) -> None:
    assert await execute(project.url, "SELECT 1") == [(1,)]


@pytest.mark.dialects("postgresql")
def test_a_pooler_in_transaction_mode_is_refused(
    project: EnvProject, postgres_server: PostgresServer
) -> None:
    """There the lock would stay behind on another connection, and stop each later upgrade."""
    project.revision(1, TABLE)
    database = str(make_url(project.url).database)
    for mode, fails in (("transaction", True), ("session", False)):
        with pgbouncer.running_pgbouncer(postgres_server, mode=mode) as bouncer:
            project.url = bouncer.url(database)
            output = project.alembic("upgrade", "head", fails=fails)
        assert ("PgBouncer in transaction mode" in output) is fails
        assert "Traceback" not in output


@pytest.mark.any_sqlalchemy
@pytest.mark.dialects("postgresql")
async def test_a_busy_pooler_is_refused_too(
    project: EnvProject, postgres_server: PostgresServer
) -> None:
    """Others take and give back its connections, so that one may come back by chance (#13)."""
    project.revision(1, TABLE)
    database = str(make_url(project.url).database)
    with pgbouncer.running_pgbouncer(postgres_server, mode="transaction") as bouncer:
        project.url = bouncer.url(database)
        dsn = project.url.replace("+asyncpg", "")

        async def traffic() -> None:
            connection = await asyncpg.connect(dsn, statement_cache_size=0)
            while not done.is_set():
                async with connection.transaction():
                    await connection.execute("SELECT pg_sleep(0.02)")
                await asyncio.sleep(0.02)
            await connection.close()

        done = asyncio.Event()
        busy = [asyncio.create_task(traffic()) for _ in range(4)]
        outputs = []
        for _ in range(3):
            pods = [project.start("-m", "alembic", "upgrade", "head") for _ in range(PODS)]
            outputs += [(await asyncio.to_thread(pod.communicate))[0] for pod in pods]
            assert all(pod.returncode for pod in pods)
        done.set()
        await asyncio.gather(*busy)
    assert all("PgBouncer in transaction mode" in one for one in outputs)
