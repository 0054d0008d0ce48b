# expect: drop-unique breaks-old-code, index-not-concurrent blocks
"""ON CONFLICT does not find an index of some rows."""

from alembic import op

revision = "unique_now_partial"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders DROP CONSTRAINT orders_number_key")
    op.execute("CREATE UNIQUE INDEX orders_number_live ON orders (number) WHERE status <> 'sent'")


def downgrade() -> None:
    op.execute("DROP INDEX orders_number_live")
    op.execute("ALTER TABLE orders ADD CONSTRAINT orders_number_key UNIQUE (number)")
