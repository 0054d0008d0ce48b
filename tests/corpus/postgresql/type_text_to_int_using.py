# expect: type-of-another-kind breaks-old-code, type-change-rewrite blocks
"""A cast of every value by USING."""

import sqlalchemy as sa
from alembic import op

revision = "type_text_to_int_using"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column(
        "users",
        "name",
        type_=sa.Integer,
        existing_type=sa.Text,
        postgresql_using="name::integer",
    )


def downgrade() -> None:
    op.alter_column("users", "name", type_=sa.Text, existing_type=sa.Integer)
