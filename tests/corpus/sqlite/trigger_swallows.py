# expect: trigger-refuses breaks-old-code
"""The INSERT succeeds, and its row is not there."""

from alembic import op

revision = "trigger_swallows"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TRIGGER orders_stop BEFORE INSERT ON orders BEGIN SELECT RAISE(IGNORE); END")


def downgrade() -> None:
    op.execute("DROP TRIGGER orders_stop")
