# expect: depends-on-environment drift
import os

import sqlalchemy as sa
from alembic import op

revision = "environment"
down_revision = "before"


def upgrade() -> None:
    if os.environ.get("REGION") == "eu":
        op.add_column("users", sa.Column("vat", sa.Text))


def downgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN IF EXISTS vat")
