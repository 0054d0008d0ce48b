# expect: nothing
"""What it did for old code is not done."""

from alembic import op

revision = "drop_trigger"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TRIGGER orders_touch")


def downgrade() -> None:
    op.execute("CREATE TRIGGER orders_touch AFTER UPDATE ON orders BEGIN SELECT 1; END")
