# expect: nothing
import sqlalchemy as sa
from alembic import op

revision = "safe_timestamp_zone_said"
down_revision = "before"


def upgrade() -> None:
    op.execute("SET LOCAL TimeZone = 'UTC'")
    op.alter_column("users", "joined", type_=sa.DateTime(timezone=True))


def downgrade() -> None:
    op.execute("SET LOCAL TimeZone = 'UTC'")
    op.alter_column("users", "joined", type_=sa.DateTime())
