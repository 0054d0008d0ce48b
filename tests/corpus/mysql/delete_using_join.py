# expect: delete-rows data-loss
"""Which rows go, another table says; what is deleted from stands before FROM."""

from alembic import op

revision = "delete_using_join"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE o FROM orders o JOIN users u ON u.id = o.user_id WHERE u.age > 30")


def downgrade() -> None:
    pass
