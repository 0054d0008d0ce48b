# expect: nothing
"""An index's name, a sequence's cache, what a replica is told, an enum's order."""

from alembic import op

revision = "safe_little_things"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER INDEX ix_users_email RENAME TO ix_users_mail")
    op.execute("ALTER SEQUENCE tickets_number_seq CACHE 20")
    op.execute("ALTER TYPE status ADD VALUE IF NOT EXISTS 'held' BEFORE 'paid'")


def downgrade() -> None:
    op.execute("ALTER SEQUENCE tickets_number_seq CACHE 1")
    op.execute("ALTER INDEX ix_users_mail RENAME TO ix_users_email")
