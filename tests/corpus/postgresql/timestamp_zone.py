# expect: type-change-depends-on-timezone blocks
import sqlalchemy as sa
from alembic import op

revision = "timestamp_zone"
down_revision = "before"


def upgrade() -> None:
    op.alter_column("users", "joined", type_=sa.DateTime(timezone=True))


def downgrade() -> None:
    op.alter_column("users", "joined", type_=sa.DateTime())
