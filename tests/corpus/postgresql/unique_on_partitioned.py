# expect: unique-scan blocks
from alembic import op

revision = "unique_on_partitioned"
down_revision = "before"


def upgrade() -> None:
    op.create_unique_constraint("events_id_at_key", "events", ["id", "at"])


def downgrade() -> None:
    op.drop_constraint("events_id_at_key", "events")
