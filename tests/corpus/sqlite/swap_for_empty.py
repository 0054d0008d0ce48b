# expect: swap-table data-loss
"""Another table by the old name."""

import sqlalchemy as sa
from alembic import op

revision = "swap_for_empty"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("notes", "notes_old")
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("t", sa.Text))


def downgrade() -> None:
    op.drop_table("notes")
    op.rename_table("notes_old", "notes")
