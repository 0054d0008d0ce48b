# expect: type-change-rewrite blocks
import sqlalchemy as sa
from alembic import op

revision = "type_key_to_bigint"
down_revision = "before"


def upgrade() -> None:
    op.alter_column("tickets", "id", type_=sa.BigInteger)


def downgrade() -> None:
    op.alter_column("tickets", "id", type_=sa.Integer)
