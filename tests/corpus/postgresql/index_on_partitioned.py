# expect: index-not-concurrent blocks
"""One index for each partition, all under the lock."""

from alembic import op

revision = "index_on_partitioned"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_events_kind", "events", ["kind"])


def downgrade() -> None:
    op.drop_index("ix_events_kind", "events")
