# expect: concurrently-in-transaction fails
"""PostgreSQL refuses this."""

from alembic import op

revision = "index_concurrently_in_transaction"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_users_name", "users", ["name"], postgresql_concurrently=True)


def downgrade() -> None:
    op.drop_index("ix_users_name", "users")
