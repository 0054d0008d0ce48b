# expect: type-change-rewrite blocks
from alembic import op

revision = "type_key_with_foreign_key"
down_revision = "before"


def upgrade() -> None:
    op.execute("ALTER TABLE orders ALTER COLUMN id TYPE numeric(20)")


def downgrade() -> None:
    op.execute("ALTER TABLE orders ALTER COLUMN id TYPE bigint")
