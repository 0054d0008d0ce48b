# expect: nothing
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
    with op.batch_alter_table("tags") as table:
        table.alter_column("n", existing_type=sa.Integer, nullable=False)
    op.execute("UPDATE tags SET n = 1")
    op.drop_column("tags", "n")


def downgrade() -> None:
    op.drop_table("tags")
