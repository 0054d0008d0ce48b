# expect: drop-table data-loss
"""The rows are gone."""

import sqlalchemy as sa
from alembic import op

revision = "drop_table"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("settings")


def downgrade() -> None:
    op.create_table(
        "settings", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text)
    )
