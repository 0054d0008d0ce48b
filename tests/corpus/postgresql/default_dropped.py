# expect: drop-default breaks-old-code
from alembic import op

revision = "default_dropped"
down_revision = "before"


def upgrade() -> None:
    op.alter_column("orders", "status", server_default=None)


def downgrade() -> None:
    op.alter_column("orders", "status", server_default="new")
