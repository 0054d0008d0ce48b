# expect: drop-default breaks-old-code, index-not-concurrent blocks
"""Rows cannot be told apart."""

from alembic import op

revision = "drop_primary_key"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders DROP PRIMARY KEY, MODIFY id INT NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE orders ADD PRIMARY KEY (id), MODIFY id INT NOT NULL AUTO_INCREMENT")
