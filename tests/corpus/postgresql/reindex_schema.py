# expect: reindex blocks
"""Outside of a transaction, but not CONCURRENTLY."""

from alembic import op

revision = "reindex_schema"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("REINDEX SCHEMA archive")


def downgrade() -> None:
    pass
