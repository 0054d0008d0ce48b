# expect: drop-unique breaks-old-code
from alembic import op

revision = "drop_unique_constraint"
down_revision = "before"


def upgrade() -> None:
    op.drop_constraint("orders_number_key", "orders")


def downgrade() -> None:
    op.create_unique_constraint("orders_number_key", "orders", ["number"])
