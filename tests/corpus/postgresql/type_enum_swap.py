# expect: enum-value-removed breaks-old-code, type-change-rewrite blocks
"""The usual way to take a value out of an enum."""

from alembic import op

revision = "type_enum_swap"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE status RENAME TO status_old")
    op.execute("CREATE TYPE status AS ENUM ('new', 'paid')")
    op.execute("ALTER TABLE orders ALTER COLUMN status DROP DEFAULT")
    op.execute("ALTER TABLE orders ALTER COLUMN status TYPE status USING status::text::status")
    op.execute("ALTER TABLE orders ALTER COLUMN status SET DEFAULT 'new'")
    op.execute("DROP TYPE status_old")


def downgrade() -> None:
    op.execute("ALTER TYPE status ADD VALUE 'sent'")
