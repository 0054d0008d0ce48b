# expect: drop-identity breaks-old-code
"""The default of users.id goes with it: no insert works any more."""

from alembic import op

revision = "drop_sequence_cascade"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP SEQUENCE users_id_seq CASCADE")


def downgrade() -> None:
    op.execute("CREATE SEQUENCE users_id_seq OWNED BY users.id")
    op.execute("ALTER TABLE users ALTER COLUMN id SET DEFAULT nextval('users_id_seq')")
