# expect: nothing
"""Says itself how gentle it is."""

from alembic import op

revision = "safe_explicit_inplace"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD INDEX ix_nick (nick), ALGORITHM=INPLACE, LOCK=NONE")


def downgrade() -> None:
    op.execute("ALTER TABLE users DROP INDEX ix_nick")
