# expect: rows-one-by-one blocks
import sqlalchemy as sa
from alembic import op

revision = "rows_one_by_one"
down_revision = "before"


def upgrade() -> None:
    bind = op.get_bind()
    for key, name in bind.execute(sa.text("SELECT id, name FROM users")).all():
        bind.execute(
            sa.text("UPDATE users SET nick = :nick WHERE id = :key"),
            {"nick": str(name), "key": key},
        )


def downgrade() -> None:
    op.execute("SELECT 1")
