# expect: type-change-rewrite blocks, type-of-another-kind breaks-old-code
"""Old code compares with numbers."""

from alembic import op

revision = "type_int_to_text"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN age DROP EXPRESSION IF EXISTS")
    op.execute("ALTER TABLE users DROP CONSTRAINT users_age_check")
    op.execute("ALTER TABLE users ALTER COLUMN age TYPE text")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN age TYPE int USING age::int")
    op.execute("ALTER TABLE users ADD CONSTRAINT users_age_check CHECK (age >= 0)")
