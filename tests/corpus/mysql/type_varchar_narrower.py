# expect: type-change-rewrite blocks
"""Shorter: every value is checked."""

from alembic import op

revision = "type_varchar_narrower"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users MODIFY nick VARCHAR(10)")


def downgrade() -> None:
    op.execute("ALTER TABLE users MODIFY nick VARCHAR(20)")
