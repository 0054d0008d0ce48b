# expect: index-not-concurrent blocks
"""A full text index keeps writers waiting."""

from alembic import op

revision = "fulltext_index"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE FULLTEXT INDEX ix_users_bio ON users (bio)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_users_bio ON users")
