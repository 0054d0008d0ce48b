# expect: check-scan blocks
"""MariaDB copies the table to check its rows."""

from alembic import op

revision = "check_added"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_check_constraint("ck_users_age", "users", "age >= 0")


def downgrade() -> None:
    op.drop_constraint("ck_users_age", "users", type_="check")
