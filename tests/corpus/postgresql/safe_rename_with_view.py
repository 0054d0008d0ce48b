# expect: nothing
"""Old code finds the old name."""

from alembic import op

revision = "safe_rename_with_view"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("settings", "preferences")
    op.execute("CREATE VIEW settings AS SELECT * FROM preferences")


def downgrade() -> None:
    op.execute("DROP VIEW settings")
    op.rename_table("preferences", "settings")
