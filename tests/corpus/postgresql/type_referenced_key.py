# expect: type-change-rewrite blocks
import sqlalchemy as sa
from alembic import op

revision = "type_referenced_key"
down_revision = "before"


def upgrade() -> None:
    op.alter_column("orders", "number", type_=sa.BigInteger)


def downgrade() -> None:
    op.alter_column("orders", "number", type_=sa.Integer)
