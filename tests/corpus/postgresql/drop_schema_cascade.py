# expect: drop-table data-loss
"""And all that is in it."""

from alembic import op

revision = "drop_schema_cascade"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP SCHEMA archive CASCADE")


def downgrade() -> None:
    op.execute("CREATE SCHEMA archive")
    op.execute("CREATE TABLE archive.letters (id bigint PRIMARY KEY, body text)")
