# expect: nothing
"""When rows are cleaned up, from now on."""

from alembic import op

revision = "safe_autovacuum"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders SET (autovacuum_vacuum_scale_factor = 0.02)")


def downgrade() -> None:
    op.execute("ALTER TABLE orders RESET (autovacuum_vacuum_scale_factor)")
