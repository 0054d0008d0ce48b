# expect: foreign-key-scan blocks
"""All rows of both tables are compared under the lock."""

from alembic import op

revision = "foreign_key"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_foreign_key("orders_user_id_fkey", "orders", "users", ["user_id"], ["id"])


def downgrade() -> None:
    op.drop_constraint("orders_user_id_fkey", "orders")
