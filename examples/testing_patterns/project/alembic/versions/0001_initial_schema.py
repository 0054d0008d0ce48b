"""initial schema

Revision ID: 0001
Revises: <base>
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# What autogenerate writes is for the one database that it saw. This project runs on three.
NOW = {
    "postgresql": "CURRENT_TIMESTAMP",
    "sqlite": "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))",
    "mysql": "(utc_timestamp(6))",
}


def key() -> TypeEngine[uuid.UUID]:
    return sa.Uuid().with_variant(sa.Uuid(native_uuid=False), "mysql", "mariadb")


def timestamp() -> TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def common_columns() -> list[sa.Column[Any]]:
    now = sa.text(NOW[op.get_context().dialect.name.replace("mariadb", "mysql")])
    return [
        sa.Column("id", key(), nullable=False),
        sa.Column("created_at", timestamp(), server_default=now, nullable=False),
        sa.Column("updated_at", timestamp(), server_default=now, nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "teams",
        *common_columns(),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("name", name=op.f("uq_teams_name")),
    )
    for name, *columns in (
        ("members",),
        ("invitations", sa.Column("expires_at", timestamp(), nullable=False)),
    ):
        op.create_table(
            name,
            *common_columns(),
            sa.Column("team_id", key(), nullable=False),
            sa.Column("email", sa.String(320), nullable=False),
            *columns,
            sa.ForeignKeyConstraint(
                ["team_id"], ["teams.id"], name=op.f(f"fk_{name}_team_id_teams")
            ),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
            sa.UniqueConstraint("team_id", "email", name=op.f(f"uq_{name}_team_id_email")),
        )


def downgrade() -> None:
    for name in ("invitations", "members", "teams"):
        op.drop_table(name)
