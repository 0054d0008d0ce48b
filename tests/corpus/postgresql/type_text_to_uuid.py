# expect: type-change-rewrite blocks, type-of-another-kind breaks-old-code
"""Text that is no UUID stops it."""

from alembic import op

revision = "type_text_to_uuid"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE items ALTER COLUMN sku TYPE uuid USING gen_random_uuid()")


def downgrade() -> None:
    op.execute("ALTER TABLE items ALTER COLUMN sku TYPE varchar(40) USING left(sku::text, 40)")
