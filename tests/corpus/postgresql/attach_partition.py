# expect: attach-partition-scan blocks
"""All rows are read to see that they belong there."""

from alembic import op

revision = "attach_partition"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE events ATTACH PARTITION events_2026"
        " FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE events DETACH PARTITION events_2026")
