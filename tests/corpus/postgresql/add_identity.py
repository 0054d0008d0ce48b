# expect: add-column-rewrite blocks
"""An identity numbers every row."""

import sqlalchemy as sa
from alembic import op

revision = "add_identity"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("settings", sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False))


def downgrade() -> None:
    op.drop_column("settings", "id")
