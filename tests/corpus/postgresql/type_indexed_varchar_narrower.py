# expect: type-change-rewrite blocks
import sqlalchemy as sa
from alembic import op

revision = "type_indexed_varchar_narrower"
down_revision = "before"


def upgrade() -> None:
    op.alter_column("tickets", "code", type_=sa.String(18))


def downgrade() -> None:
    op.alter_column("tickets", "code", type_=sa.String(20))
