# expect: add-unique-constant fails
"""Two rows get the same value."""

from alembic import op

revision = "add_constant_unique"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN code varchar(9) DEFAULT 'x' UNIQUE")


def downgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN code")
