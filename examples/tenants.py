"""Many tenants in one PostgreSQL: by row level security, or a schema each.

    python examples/tenants.py [DATABASE_URL]

    what                    costs                                   keeps apart
    tenant_session          one round trip a transaction            rows, in raw SQL as well
    schema_session          the same                                tables; raw SQL by search_path
    migrate_schemas         a process a core, not one a tenant      each schema at its own revision
    refuse_unguarded        one statement, at the start             who may pass row level security

Both settings end with the transaction (SET LOCAL) and are made anew in the next one, after a
commit, an error or on a reused connection. So they also hold behind PgBouncer. They are a net
under forgotten conditions, not a wall: who can run SQL of his own can set another tenant.
"""

import asyncio
import multiprocessing
import os
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from sqlalchemy import Connection, String, Table, Uuid, event, func, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, Session, mapped_column

import _setup
from base_model import Base
from session_manager import DatabaseSessionManager


class Note(Base):
    """A row of one tenant. The key and every unique constraint have the tenant in them: they are
    checked across all rows, and would tell one tenant what another one has."""

    __tablename__ = "tenant_notes"

    tenant_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    title: Mapped[str] = mapped_column(String(200), primary_key=True)


class TenantError(RuntimeError):
    """The tenants would not be kept apart."""


def _in_each_transaction(session: AsyncSession, name: str, value: str) -> None:
    statement = select(func.set_config(name, value, True))

    @event.listens_for(session.sync_session, "after_begin")
    def begin(_session: Session, _transaction: object, connection: Connection) -> None:
        connection.execute(statement)


# Row level security


def guard_statements(table: Table, column: str = "tenant_id") -> list[str]:
    """For a migration: from then on, a row is there only in its tenant's session.

    FORCE: else the policy is not for the table's owner, which in many projects the application
    is. Without a tenant the setting is NULL or empty, and no row is there.
    """
    name = table.fullname
    is_mine = f"{column} = nullif(current_setting('app.tenant', true), '')::uuid"
    return [
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {table.name}_of_tenant ON {name} USING ({is_mine}) WITH CHECK ({is_mine})",
    ]


@asynccontextmanager
async def tenant_session(
    database: DatabaseSessionManager, tenant: UUID
) -> AsyncIterator[AsyncSession]:
    """A session in which only this tenant's rows are there. It commits at the end.

    `read_only_session()` has no transaction for the setting to live in, and would see nothing.
    """
    async with database.session() as session:
        _in_each_transaction(session, "app.tenant", str(tenant))
        yield session
        await session.commit()


async def refuse_unguarded(session: AsyncSession, tables: Iterable[Table]) -> None:
    """Raise TenantError where row level security would not be asked. Call it at the start."""
    role = await session.execute(
        text(
            "SELECT rolname FROM pg_roles "
            "WHERE rolname = current_user AND (rolsuper OR rolbypassrls)"
        )
    )
    if name := role.scalar():
        raise TenantError(f"role {name} passes row level security: connect as another one")
    asked = text(
        "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = to_regclass(:name)"
    )
    for table in tables:
        if not await session.scalar(asked, {"name": table.fullname}):
            raise TenantError(f"table {table.fullname} has no forced row level security")


# A schema each


def schema_of(tenant: str) -> str:
    """The schema's name. It is written into SQL, so it is not just anything."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,50}", tenant):
        raise TenantError(f"{tenant!r} is no name of a tenant")
    return f"tenant_{tenant}"


@asynccontextmanager
async def schema_session(
    database: DatabaseSessionManager, tenant: str
) -> AsyncIterator[AsyncSession]:
    """A session whose tables are the tenant's. It commits at the end.

    The models have no schema. What SQLAlchemy writes gets one by schema_translate_map; SQL in a
    text() finds it by search_path, and `public` is not in that.
    """
    schema = schema_of(tenant)
    engine = database.engine.execution_options(schema_translate_map={None: schema})
    async with database.session() as session:
        session.bind, session.sync_session.bind = engine, engine.sync_engine
        _in_each_transaction(session, "search_path", schema)
        yield session
        await session.commit()


def migrate_schemas(
    ini: str,
    url: str | URL,
    tenants: Sequence[str],
    *,
    revision: str = "head",
    at_once: int | None = None,
) -> Mapping[str, str]:
    """`alembic upgrade` in the schema of each tenant; what went wrong, by tenant.

    Each schema has an alembic_version of its own: what is there is left alone, so after an error
    run it again. `at_once` processes (default: one a core) take a tenant after the other; in one
    process Alembic can only do one thing at a time. The project's env.py reads DATABASE_URL.
    """
    wrong: dict[str, str] = {}
    # Not forked: this process may have threads and an event loop.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once or os.cpu_count(), mp_context=spawn) as pool:
        jobs = {t: pool.submit(_migrate, ini, str_of(url), schema_of(t), revision) for t in tenants}
        for tenant, job in jobs.items():
            if error := job.exception():
                wrong[tenant] = f"{type(error).__name__}: {error}".splitlines()[0]
            elif job.result():
                wrong[tenant] = job.result()
    return wrong


def str_of(url: str | URL) -> str:
    return make_url(url).render_as_string(hide_password=False)


def _migrate(ini: str, url: str, schema: str, revision: str) -> str:
    from alembic import command  # noqa: PLC0415 - in the process that migrates
    from alembic.config import Config  # noqa: PLC0415

    try:
        asyncio.run(_create_schema(url, schema))
        options = {"options": f"-csearch_path={schema}"}
        os.environ["DATABASE_URL"] = str_of(make_url(url).update_query_dict(options))
        command.upgrade(Config(ini), revision)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


async def _create_schema(url: str, schema: str) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
    finally:
        await engine.dispose()


def show(what: str, result: object) -> None:
    print(f"{what}: {result}")


async def main(database: DatabaseSessionManager) -> None:
    """Show what the tenants see of each other."""
    if database.engine.dialect.name != "postgresql":
        show("row level security and schemas", "need PostgreSQL: give its URL")
        return
    async with database.engine.begin() as connection:
        for statement in guard_statements(Note.metadata.tables[Note.__tablename__]):
            await connection.execute(text(statement))
    async with database.session() as session:
        try:
            await refuse_unguarded(session, [Note.metadata.tables[Note.__tablename__]])
        except TenantError as error:
            show("not shown", error)
            return
    first, second = uuid4(), uuid4()
    for tenant in (first, second):
        async with tenant_session(database, tenant) as session:
            session.add(Note(tenant_id=tenant, title="plans"))
    count = text("SELECT count(*) FROM tenant_notes")
    async with tenant_session(database, first) as session:
        show("rows that one tenant counts", await session.scalar(count))
    async with database.session() as session:
        show("rows without a tenant", await session.scalar(count))


if __name__ == "__main__":
    _setup.run(main)
