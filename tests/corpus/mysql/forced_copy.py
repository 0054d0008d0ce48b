# expect: table-copy blocks
"""COPY where INSTANT would do."""

from alembic import op

revision = "forced_copy"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users COMMENT = 'people', ALGORITHM=COPY")


def downgrade() -> None:
    op.execute("ALTER TABLE users COMMENT = ''")
