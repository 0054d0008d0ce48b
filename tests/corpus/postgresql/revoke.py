# expect: revoke breaks-old-code
from alembic import op

revision = "revoke"
down_revision = "before"


def upgrade() -> None:
    op.execute("REVOKE SELECT ON users FROM PUBLIC")


def downgrade() -> None:
    op.execute("GRANT SELECT ON users TO PUBLIC")
