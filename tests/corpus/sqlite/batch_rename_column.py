# expect: check-lost drift, rename-column breaks-old-code, table-rebuild blocks
"""Batch mode copies the values under the new name."""

from alembic import op

revision = "batch_rename_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("name", new_column_name="full_name")


def downgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("full_name", new_column_name="name")
