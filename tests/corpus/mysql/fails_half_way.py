# expect: does-not-run fails, half-way style
"""Two changes stay behind when the third fails."""

import sqlalchemy as sa
from alembic import op

revision = "fails_half_way"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("a", sa.Integer))
    op.add_column("users", sa.Column("b", sa.Integer))
    op.execute("ALTER TABLE users ADD COLUMN a INTEGER")


def downgrade() -> None:
    op.drop_column("users", "b")
    op.drop_column("users", "a")
