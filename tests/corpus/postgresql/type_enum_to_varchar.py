# expect: type-change-rewrite blocks, type-of-another-kind breaks-old-code
"""What drivers send as the enum has no = with text."""

from alembic import op

revision = "type_enum_to_varchar"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ALTER COLUMN status DROP DEFAULT")
    op.execute("ALTER TABLE orders ALTER COLUMN status TYPE varchar(20) USING status::text")
    op.execute("ALTER TABLE orders ALTER COLUMN status SET DEFAULT 'new'")


def downgrade() -> None:
    op.execute("ALTER TABLE orders ALTER COLUMN status DROP DEFAULT")
    op.execute("ALTER TABLE orders ALTER COLUMN status TYPE status USING status::status")
    op.execute("ALTER TABLE orders ALTER COLUMN status SET DEFAULT 'new'")
