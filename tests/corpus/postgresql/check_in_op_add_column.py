# expect: check-scan blocks
"""Alembic sends two statements, which the form takes the place of."""

import sqlalchemy as sa
from alembic import op

revision = "check_in_op_add_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "users", sa.Column("rank", sa.Integer, sa.CheckConstraint("rank > 0", name="users_rank_ok"))
    )


def downgrade() -> None:
    op.drop_column("users", "rank")
