# expect: type-change-rewrite blocks
"""50 characters are 200 bytes, 100 are 400: the length takes a second byte."""

from alembic import op

revision = "type_varchar_past_255_bytes"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users MODIFY email VARCHAR(100) NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE users MODIFY email VARCHAR(50) NOT NULL")
