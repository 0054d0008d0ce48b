# expect: drop-unique breaks-old-code, unique-scan blocks
"""ON CONFLICT takes no constraint that is looked at later."""

from alembic import op

revision = "unique_now_deferrable"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders DROP CONSTRAINT orders_number_key")
    op.execute("ALTER TABLE orders ADD CONSTRAINT orders_number_key UNIQUE (number) DEFERRABLE")


def downgrade() -> None:
    op.execute("ALTER TABLE orders DROP CONSTRAINT orders_number_key")
    op.execute("ALTER TABLE orders ADD CONSTRAINT orders_number_key UNIQUE (number)")
