# expect: depends-on-environment drift
"""Asked by a function."""

import os

from alembic import op

revision = "environment_by_helper"
down_revision = "before"
branch_labels = None
depends_on = None


def in_production() -> bool:
    return os.environ.get("WHERE") == "production"


def upgrade() -> None:
    if in_production():
        op.execute("CREATE INDEX CONCURRENTLY ix_users_name ON users (name)")


def downgrade() -> None:
    pass
