# expect: check-scan blocks
"""Another CHECK under the same name."""

from alembic import op

revision = "check_replaced"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("users_age_check", "users")
    op.create_check_constraint("users_age_check", "users", "age >= 0 AND age < 10000")


def downgrade() -> None:
    op.drop_constraint("users_age_check", "users")
    op.create_check_constraint("users_age_check", "users", "age >= 0")
