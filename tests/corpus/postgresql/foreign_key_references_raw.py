# expect: foreign-key-lock brief-lock
"""No scan for a new column, but a lock on the other table, too."""

from alembic import op

revision = "foreign_key_references_raw"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ADD COLUMN buyer_id int REFERENCES users (id)")


def downgrade() -> None:
    op.drop_column("orders", "buyer_id")
