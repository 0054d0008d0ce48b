# expect: table-rebuild blocks
"""A foreign key copies the table."""

import sqlalchemy as sa
from alembic import op

revision = "batch_foreign_key"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("notes") as table:
        table.add_column(sa.Column("user_id", sa.Integer))
        table.create_foreign_key("fk_notes_user_id", "users", ["user_id"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("notes") as table:
        table.drop_constraint("fk_notes_user_id", type_="foreignkey")
        table.drop_column("user_id")
