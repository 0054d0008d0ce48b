# expect: rename-table breaks-old-code
"""One statement, two names."""

from alembic import op

revision = "rename_two_at_once"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("RENAME TABLE orders TO purchases, users TO people")


def downgrade() -> None:
    op.execute("RENAME TABLE purchases TO orders, people TO users")
