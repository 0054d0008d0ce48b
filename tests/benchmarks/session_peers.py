"""One application a peer: the same row, by its key, into the same response model.

Started by bench_sessions.py as `uvicorn --factory session_peers:PEER`. All have the same pool and
the same answer; what differs is what lies between an endpoint and the driver.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict
from sqlalchemy import String, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "templates"))

from observability import RequestStatements, observe
from replicas import ReadYourWrites, ReplicaDbSession, Replicas
from session_manager import (
    Database,
    DatabaseConfig,
    DatabaseSessionManager,
    DbSession,
    ReadOnlyConnection,
    ReadOnlyDbSession,
    lifespan,
)

URL = os.environ.get("DATABASE_URL", "")
POOL = int(os.environ.get("POOL", "10"))
POOL_OPTIONS: Any = {"pool_size": POOL, "max_overflow": 0}
SQL = "SELECT id, name, email, credit FROM customers WHERE id = $1"


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(320))
    credit: Mapped[int]


class Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    email: str
    credit: int


# Built once: to build a statement is a third of what it costs to run it.
ENTITY = select(Customer).where(Customer.id == bindparam("id"))
COLUMNS = select(Customer.id, Customer.name, Customer.email, Customer.credit).where(
    Customer.id == bindparam("id")
)


def raw_asyncpg() -> FastAPI:
    import asyncpg

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[None]:
        plain = URL.replace("+asyncpg", "")
        async with asyncpg.create_pool(plain, min_size=POOL, max_size=POOL) as app.state.pool:
            yield

    app = FastAPI(lifespan=opened)

    @app.get("/customers/{id}")
    async def read(id: int) -> Answer:
        async with app.state.pool.acquire() as connection:
            row = await connection.fetchrow(SQL, id)
        return Answer(**row)

    return app


def tutorial() -> FastAPI:
    """FastAPI's tutorial on SQL databases, with an AsyncSession."""
    engine = create_async_engine(URL, **POOL_OPTIONS)

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    SessionDep = Annotated[AsyncSession, Depends(get_session)]
    app = FastAPI()

    @app.get("/customers/{id}", response_model=Answer)
    async def read(id: int, session: SessionDep) -> Any:
        return await session.get(Customer, id)

    return app


def sqlmodel() -> FastAPI:
    from sqlmodel import Field, SQLModel
    from sqlmodel import select as select_model
    from sqlmodel.ext.asyncio.session import AsyncSession as ModelSession

    class Model(SQLModel, table=True):
        __tablename__ = "customers"  # type: ignore[assignment]

        id: int = Field(primary_key=True)
        name: str
        email: str
        credit: int

    engine = create_async_engine(URL, **POOL_OPTIONS)

    async def get_session() -> AsyncIterator[ModelSession]:
        async with ModelSession(engine) as session:
            yield session

    app = FastAPI()

    @app.get("/customers/{id}", response_model=Answer)
    async def read(id: int, session: Annotated[ModelSession, Depends(get_session)]) -> Any:
        return (await session.exec(select_model(Model).where(Model.id == id))).one()

    return app


def advanced_alchemy() -> FastAPI:
    from advanced_alchemy.extensions.fastapi import (
        AdvancedAlchemy,
        AsyncSessionConfig,
        EngineConfig,
        SQLAlchemyAsyncConfig,
    )

    app = FastAPI()
    alchemy = AdvancedAlchemy(
        config=SQLAlchemyAsyncConfig(
            connection_string=URL,
            session_config=AsyncSessionConfig(expire_on_commit=False),
            engine_config=EngineConfig(**POOL_OPTIONS),
            commit_mode="autocommit",
        ),
        app=app,
    )

    @app.get("/customers/{id}", response_model=Answer)
    async def read(
        id: int, session: Annotated[AsyncSession, Depends(alchemy.provide_session())]
    ) -> Any:
        return await session.get(Customer, id)

    return app


def public_skill() -> FastAPI:
    """The usual snippet, which the existing public skill has as well."""
    engine = create_async_engine(URL, pool_pre_ping=True, **POOL_OPTIONS)
    sessions = async_sessionmaker(engine, expire_on_commit=False, autoflush=False)

    async def get_db() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            try:
                yield session
                await session.commit()
            except Exception:
                await session.rollback()
                raise
            finally:
                await session.close()

    app = FastAPI()

    @app.get("/customers/{id}", response_model=Answer)
    async def read(id: int, db: Annotated[AsyncSession, Depends(get_db)]) -> Any:
        return (await db.execute(select(Customer).where(Customer.id == id))).scalar_one()

    return app


# Ours


def _ours() -> FastAPI:
    app = FastAPI(lifespan=lifespan)
    app.state.database = DatabaseSessionManager(DatabaseConfig(URL, pool_size=POOL, max_overflow=0))
    return app


def db_session() -> FastAPI:
    app = _ours()

    @app.get("/customers/{id}", response_model=Answer)
    async def read(id: int, session: DbSession) -> Any:
        return await session.get(Customer, id)

    return app


def read_only_entity() -> FastAPI:
    app = _ours()

    @app.get("/customers/{id}", response_model=Answer)
    async def read(id: int, session: ReadOnlyDbSession) -> Any:
        return await session.scalar(ENTITY, {"id": id})

    return app


def read_only_columns() -> FastAPI:
    app = _ours()

    @app.get("/customers/{id}")
    async def read(id: int, connection: ReadOnlyConnection) -> Answer:
        row = (await connection.execute(COLUMNS, {"id": id})).one()
        return Answer(id=row[0], name=row[1], email=row[2], credit=row[3])

    return app


def driver() -> FastAPI:
    app = _ours()

    @app.get("/customers/{id}")
    async def read(id: int, database: Database) -> Answer:
        async with database.driver_connection() as connection:
            row = await connection.fetchrow(SQL, id)
        return Answer(**row)

    return app


def observed() -> FastAPI:
    """As db_session, with all that observability.py does for a request that is not slow."""
    database = DatabaseSessionManager(DatabaseConfig(URL, pool_size=POOL, max_overflow=0))

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[None]:
        async with database:
            app.state.database = database
            observe(database.engine, trace=True)
            yield

    app = FastAPI(lifespan=opened)
    app.add_middleware(RequestStatements, server_timing=True)

    @app.get("/customers/{id}", response_model=Answer)
    async def read(id: int, session: DbSession) -> Any:
        return await session.get(Customer, id)

    return app


def replica() -> FastAPI:
    """As read_only_entity, by way of the router; the standby is in STANDBY_URL."""
    primary, standby = (
        DatabaseSessionManager(DatabaseConfig(url, pool_size=POOL, max_overflow=0))
        for url in (URL, os.environ.get("STANDBY_URL", URL))
    )

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[None]:
        async with Replicas(primary, [standby]) as app.state.replicas:
            app.state.database = primary
            assert not app.state.replicas.standbys[0].wrong
            yield

    app = FastAPI(lifespan=opened)
    app.add_middleware(ReadYourWrites)

    @app.get("/customers/{id}", response_model=Answer)
    async def read(id: int, session: ReplicaDbSession) -> Any:
        return await session.scalar(ENTITY, {"id": id})

    return app
