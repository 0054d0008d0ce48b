# expect: drop-table data-loss
from alembic import op

revision = "drop_partition"
down_revision = "before"


def upgrade() -> None:
    op.execute("DROP TABLE events_2025")


def downgrade() -> None:
    op.execute(
        "CREATE TABLE events_2025 PARTITION OF events"
        " FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')"
    )
