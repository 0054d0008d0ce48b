# expect: add-column-rewrite blocks
from alembic import op

revision = "add_uuid_on_partitioned"
down_revision = "before"


def upgrade() -> None:
    op.execute("ALTER TABLE visits ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid()")


def downgrade() -> None:
    op.drop_column("visits", "token")
