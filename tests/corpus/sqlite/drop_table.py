# expect: drop-table data-loss
"""With all its rows."""

import sqlalchemy as sa
from alembic import op

revision = "drop_table"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("notes")


def downgrade() -> None:
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("t", sa.Text))
