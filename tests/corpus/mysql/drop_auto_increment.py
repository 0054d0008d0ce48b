# expect: drop-default breaks-old-code
"""Old code leaves the key to the server."""

from alembic import op

revision = "drop_auto_increment"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders MODIFY id INT NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE orders MODIFY id INT NOT NULL AUTO_INCREMENT")
