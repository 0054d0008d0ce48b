# expect: rename-table breaks-old-code
"""A view by the old name, which reads only."""

from alembic import op

revision = "rename_table_with_view"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("notes", "memos")
    op.execute("CREATE VIEW notes AS SELECT id, t FROM memos")


def downgrade() -> None:
    op.execute("DROP VIEW notes")
    op.rename_table("memos", "notes")
