"""examples/tenants.py: nobody sees another one's rows, as a role that the server does not trust."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

import tenants
from projects import warm
from servers.postgres import PostgresServer
from session_manager import DatabaseConfig, DatabaseSessionManager
from templates.env_project import EnvProject
from tenants import Note, TenantError, migrate_schemas, schema_session, tenant_session

EXAMPLE = Path(tenants.__file__)
TABLE = Note.metadata.tables[Note.__tablename__]
COUNT = text("SELECT count(*) FROM tenant_notes")
PASSWORD = "tenant"

pytestmark = pytest.mark.dialects("postgresql")


@pytest.fixture
async def role(postgres_server: PostgresServer) -> AsyncIterator[str]:
    name = f"asp_tenant_{uuid4().hex[:8]}"
    postgres_server.administer(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield name
    postgres_server.administer(f"DROP ROLE {name}")


@pytest.fixture
async def database(
    postgres_server: PostgresServer, database_url: str, role: str
) -> AsyncIterator[DatabaseSessionManager]:
    """As the owner of the table, who is no superuser, with one connection: it is used again."""
    name = str(make_url(database_url).database)
    postgres_server.execute(f"GRANT CREATE ON DATABASE {name} TO {role}")
    postgres_server.execute(f"GRANT CREATE ON SCHEMA public TO {role}", name)
    url = make_url(database_url).set(username=role, password=PASSWORD)
    config = DatabaseConfig(url, pool_size=1, max_overflow=0)
    async with DatabaseSessionManager(config) as manager:
        async with manager.engine.begin() as connection:
            await connection.run_sync(TABLE.create)
            for statement in tenants.guard_statements(TABLE):
                await connection.execute(text(statement))
        yield manager
    postgres_server.execute(f"DROP OWNED BY {role} CASCADE", name)


async def titles(database: DatabaseSessionManager, tenant: UUID) -> list[str]:
    async with tenant_session(database, tenant) as session:
        return list(await session.scalars(text("SELECT title FROM tenant_notes ORDER BY 1")))


async def two(database: DatabaseSessionManager) -> tuple[UUID, UUID]:
    first, second = uuid4(), uuid4()
    for tenant, title in ((first, "of the first"), (second, "of the second")):
        async with tenant_session(database, tenant) as session:
            session.add(Note(tenant_id=tenant, title=title))
    return first, second


async def test_nobody_sees_another_ones_rows(database: DatabaseSessionManager):
    first, second = await two(database)
    assert await titles(database, first) == ["of the first"]
    assert await titles(database, second) == ["of the second"]
    async with tenant_session(database, first) as session:
        assert (await session.scalars(select(Note.title))).all() == ["of the first"]
        assert await session.get(Note, (second, "of the second")) is None
        for statement in ("UPDATE tenant_notes SET title = 'x'", "DELETE FROM tenant_notes"):
            everything = await session.execute(text(statement))
            assert everything.rowcount == 1  # type: ignore[attr-defined]
    assert await titles(database, second) == ["of the second"]


async def test_nobody_writes_another_ones_rows(database: DatabaseSessionManager):
    first, second = await two(database)
    with pytest.raises(DBAPIError, match="row-level security"):
        async with tenant_session(database, first) as session:
            session.add(Note(tenant_id=second, title="forged"))
    with pytest.raises(DBAPIError, match="row-level security"):
        async with tenant_session(database, first) as session:
            await session.execute(text("UPDATE tenant_notes SET tenant_id = :t"), {"t": second})
    assert await titles(database, second) == ["of the second"]


async def test_it_holds_after_an_error_a_commit_and_a_rollback(database: DatabaseSessionManager):
    first, second = await two(database)
    async with tenant_session(database, first) as session:
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT 1/0"))
        await session.rollback()
        assert await session.scalar(COUNT) == 1
        await session.commit()
        assert await session.scalar(COUNT) == 1
        with pytest.raises(DBAPIError):
            async with session.begin_nested():
                await session.execute(text("SELECT 1/0"))
        assert await session.scalar(COUNT) == 1
    with pytest.raises(DBAPIError):
        async with tenant_session(database, first) as session:
            await session.execute(text("SELECT 1/0"))
    assert await titles(database, second) == ["of the second"]


async def test_a_reused_connection_has_no_tenant(database: DatabaseSessionManager):
    """One connection, so it is the same: also after a cancellation it shows nothing."""
    first, _ = await two(database)
    pids = set()
    for _ in range(2):
        async with tenant_session(database, first) as session:
            pids.add(await session.scalar(text("SELECT pg_backend_pid()")))
        async with database.session() as session:
            pids.add(await session.scalar(text("SELECT pg_backend_pid()")))
            assert await session.scalar(COUNT) == 0
        async with database.read_only_session() as session:
            assert await session.scalar(COUNT) == 0
    assert len(pids) == 1

    async def slow() -> None:
        async with tenant_session(database, first) as session:
            await session.execute(text("SELECT pg_sleep(60)"))

    task = asyncio.create_task(slow())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait({task})
    async with database.session() as session:
        assert await session.scalar(COUNT) == 0


async def test_who_passes_the_policies_is_refused(
    database: DatabaseSessionManager, database_url: str, postgres_server: PostgresServer, role: str
):
    async with database.session() as session:
        await tenants.refuse_unguarded(session, [TABLE])
        await session.execute(text("ALTER TABLE tenant_notes NO FORCE ROW LEVEL SECURITY"))
        with pytest.raises(TenantError, match="no forced row level security"):
            await tenants.refuse_unguarded(session, [TABLE])
        await session.rollback()
        await session.execute(text("ALTER TABLE tenant_notes DISABLE ROW LEVEL SECURITY"))
        with pytest.raises(TenantError, match="no forced row level security"):
            await tenants.refuse_unguarded(session, [TABLE])
    postgres_server.administer(f"ALTER ROLE {role} BYPASSRLS")
    async with database.session() as session:
        with pytest.raises(TenantError, match="passes row level security"):
            await tenants.refuse_unguarded(session, [TABLE])
    superuser = DatabaseSessionManager(DatabaseConfig(database_url))
    async with superuser, superuser.session() as session:
        with pytest.raises(TenantError, match="passes row level security"):
            await tenants.refuse_unguarded(session, [TABLE])


async def test_a_schema_each(database: DatabaseSessionManager):
    async with database.engine.begin() as connection:
        for tenant in ("a", "b"):
            await connection.execute(text(f"CREATE SCHEMA tenant_{tenant}"))
            await connection.execute(
                text(f"CREATE TABLE tenant_{tenant}.tenant_notes (LIKE public.tenant_notes)")
            )
    key = uuid4()
    for tenant in ("a", "b"):
        async with schema_session(database, tenant) as session:
            session.add(Note(tenant_id=key, title=f"of {tenant}"))
            await session.commit()
            session.add(Note(tenant_id=key, title=f"more of {tenant}"))
    for tenant in ("a", "b"):
        async with schema_session(database, tenant) as session:
            for _ in range(2):
                expected = [f"more of {tenant}", f"of {tenant}"]
                ours = select(Note.title).order_by(Note.title)
                assert (await session.scalars(ours)).all() == expected
                by_text = text("SELECT title FROM tenant_notes ORDER BY 1")
                assert (await session.scalars(by_text)).all() == expected
                with pytest.raises(DBAPIError):
                    await session.execute(text("SELECT 1/0"))
                await session.rollback()
    async with database.session() as session:  # the same connection, again in public
        assert await session.scalar(COUNT) == 0
        assert await session.scalar(text("SHOW search_path")) == '"$user", public'


@pytest.mark.parametrize("name", ["", "a b", "a;drop schema public", 'a"', "A", "1", "é", "a\n"])
def test_a_name_that_is_none_is_refused(name: str):
    with pytest.raises(TenantError):
        tenants.schema_of(name)


def test_schemas_are_migrated_side_by_side_and_again(
    database_url: str, tmp_path: Path, monkeypatch
):
    """One fails half way: the others are done, and once its cause is gone, it is."""
    project = EnvProject.create(tmp_path, database_url)
    project.revision(1, "op.create_table('notes', sa.Column('id', sa.Integer, primary_key=True))")
    project.revision(2, "op.create_table('more', sa.Column('id', sa.Integer, primary_key=True))")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ["t1", "t2", "t3"]

    def ask(statement: str) -> list[object]:
        async def run() -> list[object]:
            engine = create_async_engine(database_url)
            async with engine.begin() as connection:
                result = await connection.execute(text(statement))
                rows = list(result.scalars()) if result.returns_rows else []
            await engine.dispose()
            return rows

        return asyncio.run(run())

    ask("CREATE SCHEMA tenant_t3")
    ask("CREATE TABLE tenant_t3.more (id int)")  # in the way of the second revision
    wrong = migrate_schemas("alembic.ini", database_url, names, at_once=2)
    assert list(wrong) == ["t3"]
    assert "more" in wrong["t3"]
    versions = " UNION ALL ".join(
        f"SELECT '{name} ' || version_num FROM tenant_{name}.alembic_version" for name in names
    )
    done = [f"{name} r2" for name in names if name != "t3"]
    assert sorted(ask(versions)) == sorted([*done, "t3 r1"])
    ask("DROP TABLE tenant_t3.more")
    assert migrate_schemas("alembic.ini", database_url, names, at_once=1) == {}
    assert sorted(ask(versions)) == [f"{name} r2" for name in names]
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert ask(tables) == [0]


def test_the_program_runs(database_url: str):
    status, output = warm.run([str(EXAMPLE), database_url], cwd=EXAMPLE.parent, environment={})
    assert status == 0, output
    assert "passes row level security" in output
