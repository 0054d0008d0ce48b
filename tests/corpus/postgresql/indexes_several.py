# expect: index-not-concurrent blocks
from alembic import op

revision = "indexes_several"
down_revision = "before"


def upgrade() -> None:
    op.create_index("ix_users_city", "users", ["city"])
    op.create_index("ix_orders_note", "orders", ["note"])
    op.create_index("ix_visits_user", "visits", ["user_id"])


def downgrade() -> None:
    op.drop_index("ix_visits_user", "visits")
    op.drop_index("ix_orders_note", "orders")
    op.drop_index("ix_users_city", "users")
