# expect: table-copy blocks
"""The table is copied while writers wait."""

from alembic import op

revision = "partition_by"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders PARTITION BY HASH(id) PARTITIONS 4")


def downgrade() -> None:
    op.execute("ALTER TABLE orders REMOVE PARTITIONING")
