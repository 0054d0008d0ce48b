# expect: several-statements fails
"""What a driver with prepared statements refuses."""

from alembic import op

revision = "several_statements"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN a int; ALTER TABLE users ADD COLUMN b int")


def downgrade() -> None:
    op.drop_column("users", "a")
