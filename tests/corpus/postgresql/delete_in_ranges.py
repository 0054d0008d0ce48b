# expect: delete-rows data-loss
import sqlalchemy as sa
from alembic import op

revision = "delete_in_ranges"
down_revision = "before"


def upgrade() -> None:
    for start in range(0, 3000, 1000):
        op.get_bind().execute(
            sa.text("DELETE FROM items WHERE id BETWEEN :low AND :high"),
            {"low": start, "high": start + 999},
        )


def downgrade() -> None:
    op.execute("SELECT 1")
