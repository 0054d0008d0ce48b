# expect: drop-column data-loss
"""CASCADE takes the column along."""

from alembic import op

revision = "drop_type_cascade"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TYPE status CASCADE")


def downgrade() -> None:
    op.execute("CREATE TYPE status AS ENUM ('new', 'paid', 'sent')")
    op.execute("ALTER TABLE orders ADD COLUMN status status NOT NULL DEFAULT 'new'")
