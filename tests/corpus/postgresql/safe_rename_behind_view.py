# expect: nothing
"""The old name is a view that takes writes."""

from alembic import op

revision = "safe_rename_behind_view"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE settings RENAME TO preferences")
    op.execute("CREATE VIEW settings AS SELECT * FROM preferences")


def downgrade() -> None:
    op.execute("DROP VIEW settings")
    op.execute("ALTER TABLE preferences RENAME TO settings")
