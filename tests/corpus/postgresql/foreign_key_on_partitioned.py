# expect: foreign-key-scan blocks
from alembic import op

revision = "foreign_key_on_partitioned"
down_revision = "before"


def upgrade() -> None:
    op.create_foreign_key("visits_user_id_fkey", "visits", "users", ["user_id"], ["id"])


def downgrade() -> None:
    op.drop_constraint("visits_user_id_fkey", "visits")
