# expect: nothing
"""A reason is given."""

import sqlalchemy as sa
from alembic import op

revision = "safe_allowed"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column(
        "users", "nick"
    )  # migration-review: allow[drop-column] no code has read it since May


def downgrade() -> None:
    op.add_column("users", sa.Column("nick", sa.String(20)))
