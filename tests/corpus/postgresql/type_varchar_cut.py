# expect: type-change-loses data-loss, type-change-rewrite blocks
"""USING cuts what would not fit."""

from alembic import op

revision = "type_varchar_cut"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN nick TYPE varchar(10) USING substr(nick, 1, 10)")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN nick TYPE varchar(20)")
