# expect: exclusion-scan blocks
"""Exclusion has no NOT VALID."""

from alembic import op

revision = "exclusion"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_exclude_constraint("orders_number_excl", "orders", ("number", "="), using="btree")


def downgrade() -> None:
    op.drop_constraint("orders_number_excl", "orders")
