# expect: unique-scan blocks
"""Builds an index under the strongest lock."""

from alembic import op

revision = "unique_constraint"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_unique_constraint("users_email_key", "users", ["email"])


def downgrade() -> None:
    op.drop_constraint("users_email_key", "users")
