# expect: type-made-again fails
"""An earlier revision made the type."""

import sqlalchemy as sa
from alembic import op

revision = "type_made_again"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "slips",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("state", sa.Enum("new", "paid", "sent", name="status")),
    )


def downgrade() -> None:
    op.drop_table("slips")
