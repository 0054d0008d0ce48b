# expect: drop-view breaks-old-code, type-change-rewrite blocks, type-of-another-kind breaks-old-code
"""Old code writes true."""

from alembic import op

revision = "type_bool_to_int"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP VIEW active_users")
    op.execute("ALTER TABLE users ALTER COLUMN active DROP DEFAULT")
    op.execute("ALTER TABLE users ALTER COLUMN active TYPE int USING active::int")
    op.execute("ALTER TABLE users ALTER COLUMN active SET DEFAULT 1")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN active DROP DEFAULT")
    op.execute("ALTER TABLE users ALTER COLUMN active TYPE boolean USING active > 0")
    op.execute("ALTER TABLE users ALTER COLUMN active SET DEFAULT true")
    op.execute("CREATE VIEW active_users AS SELECT id, email FROM users WHERE active")
