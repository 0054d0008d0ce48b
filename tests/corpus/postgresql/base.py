"""The schema before: a small shop that has been running for a while."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "before"
down_revision = None
branch_labels = None
depends_on = None

STATUS = postgresql.ENUM("new", "paid", "sent", name="status")


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("email", sa.String(50), nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("nick", sa.String(20)),
        sa.Column("city", sa.String(50)),
        sa.Column("age", sa.Integer),
        sa.Column("credit", sa.Numeric(8, 2)),
        sa.Column("joined", sa.DateTime(), nullable=False, server_default=sa.text("now()")),
        sa.Column("active", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("payload", postgresql.JSON),
        sa.CheckConstraint("age >= 0", name="users_age_check"),
    )
    op.create_index("ix_users_email", "users", ["email"])
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer),
        sa.Column("status", STATUS, nullable=False, server_default="new"),
        sa.Column("total", sa.Numeric(10, 2)),
        sa.Column("note", sa.Text),
        sa.Column("placed", sa.DateTime(timezone=True)),
        sa.Column("reference", sa.String(20), index=True),
        sa.UniqueConstraint("number", name="orders_number_key"),
    )
    op.create_index("ix_orders_user_id", "orders", ["user_id"])
    op.create_table(
        "items",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column(
            "order_id", sa.BigInteger, sa.ForeignKey("orders.id", name="items_order_id_fkey")
        ),
        sa.Column("sku", sa.String(40)),
    )
    op.create_table(
        "settings", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text)
    )
    op.execute(
        "CREATE TABLE events (id bigint, at date NOT NULL, kind text) PARTITION BY RANGE (at)"
    )
    op.execute(
        "CREATE TABLE events_2025 PARTITION OF events"
        " FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')"
    )
    op.execute("CREATE TABLE events_2026 (id bigint, at date NOT NULL, kind text)")
    op.execute("CREATE VIEW active_users AS SELECT id, email FROM users WHERE active")
    op.execute(
        "CREATE MATERIALIZED VIEW order_counts AS"
        " SELECT user_id, count(*) FROM orders GROUP BY user_id"
    )
    op.execute("CREATE UNIQUE INDEX ix_order_counts ON order_counts (user_id)")
    op.execute("CREATE SCHEMA archive")
    op.execute("CREATE TABLE archive.letters (id bigint PRIMARY KEY, body text)")
    op.execute(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()"
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA archive CASCADE")
    op.execute("DROP MATERIALIZED VIEW order_counts")
    op.execute("DROP VIEW active_users")
    for table in ("events", "events_2026", "settings", "items", "orders", "users"):
        op.drop_table(table)
    op.execute("DROP FUNCTION touch()")
    op.execute("DROP TYPE status")
