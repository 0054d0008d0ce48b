# expect: check-lost drift, table-rebuild blocks
"""A unique constraint copies the table."""

from alembic import op

revision = "batch_unique"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.create_unique_constraint("uq_users_nick", ["nick"])


def downgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.drop_constraint("uq_users_nick", type_="unique")
