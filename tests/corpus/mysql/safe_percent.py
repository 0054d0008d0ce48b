# expect: nothing
"""A percent sign and a quoted name in the statement."""

from alembic import op

revision = "safe_percent"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN `5 % of` VARCHAR(10) DEFAULT '5%' COMMENT 'a % sign'")


def downgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN `5 % of`")
