# expect: type-change-rewrite blocks, type-of-another-kind breaks-old-code
"""One value becomes a list."""

from alembic import op

revision = "type_to_array"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN city TYPE text[] USING ARRAY[city]")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN city TYPE varchar(50) USING city[1]")
