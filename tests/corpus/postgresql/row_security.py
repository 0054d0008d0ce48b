# expect: row-security-without-policy breaks-old-code
from alembic import op

revision = "row_security"
down_revision = "before"


def upgrade() -> None:
    op.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute("ALTER TABLE orders DISABLE ROW LEVEL SECURITY")
