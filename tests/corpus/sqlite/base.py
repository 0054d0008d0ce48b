"""The schema before: a small shop that has been running for a while."""

import sqlalchemy as sa
from alembic import op

revision = "before"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("email", sa.String(50), nullable=False),
        sa.Column("name", sa.String(20)),
        sa.Column("nick", sa.String(20)),
        sa.Column("age", sa.Integer),
        sa.Column("bio", sa.Text),
        sa.CheckConstraint("age >= 0"),
        sa.CheckConstraint("length(email) > 2", name="ck_users_email"),
    )
    op.create_index("ix_users_email", "users", ["email"])
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "user_id",
            sa.Integer,
            sa.ForeignKey("users.id", name="fk_orders_user_id", ondelete="CASCADE"),
        ),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), server_default="new", nullable=False),
    )
    op.create_table(
        "marks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("t", sa.Text),
        sqlite_autoincrement=True,
    )
    op.execute("CREATE TRIGGER orders_touch AFTER UPDATE ON orders BEGIN SELECT 1; END")
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("t", sa.Text))


def downgrade() -> None:
    op.drop_table("marks")
    op.drop_table("orders")
    op.drop_table("users")
