# expect: other-connection data-loss, downgrade-empty irreversible
"""The column goes on a connection of the revision's own, past the migration's transaction."""

from alembic import op

revision = "other_connection"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE marks (id integer PRIMARY KEY)")
    with op.get_bind().engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE orders DROP COLUMN note")


def downgrade() -> None:
    pass
