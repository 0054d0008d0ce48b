# expect: drop-column data-loss
import sqlalchemy as sa
from alembic import op

revision = "drop_required_column"
down_revision = "before"


def upgrade() -> None:
    op.drop_column("items", "kind")


def downgrade() -> None:
    op.add_column("items", sa.Column("kind", sa.Text))
