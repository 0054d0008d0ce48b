# expect: type-change-rewrite blocks
"""The same values, and one more."""

from alembic import op

revision = "enum_swap_with_more"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE status RENAME TO status_old")
    op.execute("CREATE TYPE status AS ENUM ('new', 'paid', 'sent', 'lost')")
    op.execute("ALTER TABLE orders ALTER COLUMN status DROP DEFAULT")
    op.execute("ALTER TABLE orders ALTER COLUMN status TYPE status USING status::text::status")
    op.execute("ALTER TABLE orders ALTER COLUMN status SET DEFAULT 'new'")
    op.execute("DROP TYPE status_old")


def downgrade() -> None:
    op.execute("SELECT 1")
