# expect: set-not-null-scan blocks
"""What a DO block hides."""

from alembic import op

revision = "do_block"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DO $$ BEGIN ALTER TABLE users ALTER COLUMN name SET NOT NULL; END $$")


def downgrade() -> None:
    op.alter_column("users", "name", nullable=True)
