# expect: detach-partition breaks-old-code
"""The strongest lock on the parent."""

from alembic import op

revision = "detach_partition"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE events DETACH PARTITION events_2025")


def downgrade() -> None:
    op.execute(
        "ALTER TABLE events ATTACH PARTITION events_2025"
        " FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')"
    )
