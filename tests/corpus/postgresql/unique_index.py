# expect: index-not-concurrent blocks
import sqlalchemy as sa
from alembic import op

revision = "unique_index"
down_revision = "before"


def upgrade() -> None:
    op.create_index("ux_users_email", "users", [sa.text("lower(email)")], unique=True)


def downgrade() -> None:
    op.drop_index("ux_users_email", "users")
