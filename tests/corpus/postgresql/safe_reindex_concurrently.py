# expect: nothing
"""Writers go on."""

from alembic import op

revision = "safe_reindex_concurrently"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("REINDEX TABLE CONCURRENTLY users")


def downgrade() -> None:
    pass
