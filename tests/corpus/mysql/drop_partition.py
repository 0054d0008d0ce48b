# expect: drop-partition data-loss, table-copy blocks
"""Its rows are gone with it."""

from alembic import op

revision = "drop_partition"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE orders PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (5),"
        " PARTITION b VALUES LESS THAN MAXVALUE)"
    )
    op.execute("ALTER TABLE orders DROP PARTITION a")


def downgrade() -> None:
    op.execute("ALTER TABLE orders REMOVE PARTITIONING")
