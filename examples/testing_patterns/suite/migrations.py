"""The tables come from the migrations, as in production"""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.db.session_manager import DatabaseSessionManager
from tests.conftest import ALEMBIC_INI


async def test_the_database_is_at_the_head(database: DatabaseSessionManager) -> None:
    """create_all would leave no revision, and would not notice a migration that is missing."""
    async with database.engine.connect() as connection:
        rows = await connection.execute(text("SELECT version_num FROM alembic_version"))
        heads = ScriptDirectory.from_config(Config(ALEMBIC_INI)).get_heads()
        assert list(rows.scalars()) == heads


async def test_models_and_migrations_agree(database: DatabaseSessionManager) -> None:
    """`alembic check` on the test database: a model was changed, and its migration forgotten."""

    def check(connection: Connection) -> None:
        config = Config(ALEMBIC_INI)
        config.attributes["connection"] = connection
        command.check(config)

    async with database.engine.connect() as connection:
        await connection.run_sync(check)
