# expect: drop-index brief-lock, drop-unique breaks-old-code
from alembic import op

revision = "drop_unique_index"
down_revision = "before"


def upgrade() -> None:
    op.drop_index("ux_tickets_code", "tickets")


def downgrade() -> None:
    op.execute("CREATE UNIQUE INDEX ux_tickets_code ON tickets (lower(code), id) WHERE id > 0")
