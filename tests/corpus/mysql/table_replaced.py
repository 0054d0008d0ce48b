# expect: drop-table data-loss
"""MariaDB drops the table that is there."""

from alembic import op

revision = "table_replaced"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE OR REPLACE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, user_id INT,"
        " total INT NOT NULL, state VARCHAR(10) NOT NULL DEFAULT 'new', note TEXT)"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE orders DROP COLUMN note")
