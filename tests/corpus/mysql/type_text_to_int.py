# expect: type-change-rewrite blocks
"""A text that is no number stops it."""

from alembic import op

revision = "type_text_to_int"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users MODIFY name INT")


def downgrade() -> None:
    op.execute("ALTER TABLE users MODIFY name VARCHAR(20)")
