# expect: half-way style
"""A table of this revision has no readers."""

import sqlalchemy as sa
from alembic import op

revision = "safe_new_table"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tags", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer)
    )
    op.create_check_constraint("ck_tags_n", "tags", "n > 0")
    op.alter_column("tags", "n", existing_type=sa.Integer, type_=sa.BigInteger)
    op.execute("UPDATE tags SET n = 1")


def downgrade() -> None:
    op.drop_table("tags")
