# expect: delete-rows data-loss
from alembic import op

revision = "delete_by_name"
down_revision = "before"


def upgrade() -> None:
    op.execute("DELETE FROM items WHERE sku = 'old' AND id <> 3")


def downgrade() -> None:
    op.execute("SELECT 1")
