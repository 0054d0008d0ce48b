# expect: add-column-rewrite blocks
"""A default that differs in every row."""

import sqlalchemy as sa
from alembic import op

revision = "add_uuid_default"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "orders",
        sa.Column("token", sa.Uuid, nullable=False, server_default=sa.text("gen_random_uuid()")),
    )


def downgrade() -> None:
    op.drop_column("orders", "token")
