# expect: update-all-rows blocks
from alembic import op

revision = "backfill_volatile"
down_revision = "before"


def upgrade() -> None:
    op.execute("UPDATE users SET city = gen_random_uuid()::text")


def downgrade() -> None:
    op.execute("SELECT 1")
