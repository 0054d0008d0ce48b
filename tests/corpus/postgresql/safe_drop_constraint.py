# expect: nothing
"""The catalog only."""

from alembic import op

revision = "safe_drop_constraint"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("users_age_check", "users")


def downgrade() -> None:
    op.create_check_constraint("users_age_check", "users", "age >= 0", postgresql_not_valid=True)
