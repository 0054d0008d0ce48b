"""Fill an empty database: `DATABASE_URL=... python -m app.seed [small|medium|large]`."""

import asyncio
import sys
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.db import engine
from app.models import Base


@dataclass(frozen=True)
class Size:
    users: int
    posts: int
    comments: int
    notifications: int
    reports: int
    articles: int
    tags: int
    busy: int
    """Posts that a third of the comments are about."""


SIZES = {
    "small": Size(40, 90, 240, 60, 45, 30, 30, 10),
    "medium": Size(6_000, 30_000, 24_000, 6_000, 24_000, 600, 180, 40),
    "large": Size(10_000, 50_000, 40_000, 10_000, 40_000, 1_000, 300, 40),
}
CATEGORIES = 12
# The last comments answer each other: a thread as deep as that.
DEPTH = 12


def statements(size: Size, dialect: str) -> list[str]:
    """INSERTs that make their rows in the database. `{i}` counts from 1."""
    if dialect == "sqlite":
        moment = "strftime('%Y-%m-%d %H:%M:%S.000000', '2026-01-01', '+' || {0} || ' minutes')"
        truth = ("1", "0")
    else:
        moment = "timestamp '2026-01-01' + {0} * interval '1 minute'"
        truth = ("true", "false")

    def fill(table: str, columns: str, number: int, values: str) -> str:
        if dialect == "sqlite":
            series = f"SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {number}"
            series = f"WITH RECURSIVE s(i) AS ({series}) SELECT {values} FROM s"
        else:
            series = f"SELECT {values} FROM generate_series(1, {number}) AS s(i)"
        return f"INSERT INTO {table} ({columns}) {series}"

    lorem = "lorem ipsum dolor sit amet "
    body = f"'{lorem * 6}' || i"
    wide = f"'{lorem * 65}' || i"
    first_answer = size.comments - DEPTH
    return [
        fill(
            "users",
            "id, email, name, karma, joined_at",
            size.users,
            f"i, 'User' || i || '@Example.com', 'user-' || ((i * 7919) % {size.users}), i % 500, "
            + moment.format("i"),
        ),
        fill(
            "categories",
            "id, slug, title, position",
            CATEGORIES,
            f"i, 'category-' || i, 'Category ' || i, {CATEGORIES} - i",
        ),
        fill("tags", "id, name", size.tags, "i, 'tag-' || i"),
        fill(
            "posts",
            "id, author_id, category_id, title, body, score, created_at",
            size.posts,
            f"i, (i * 7919) % {size.users} + 1, (i / 3) % {CATEGORIES} + 1, "
            f"'Post ' || ((i * 7919) % {size.posts}) || ' about {lorem * 2}', {body}, "
            f"(i * 31) % 1000, {moment.format(f'((i * 7919) % {size.posts})')}",
        ),
        fill("post_tags", "post_id, tag_id", size.posts // 5, f"i * 5, i % {size.tags} + 1"),
        fill(
            "comments",
            "id, post_id, author_id, parent_id, body, created_at",
            size.comments,
            f"i, CASE WHEN i % 3 = 0 THEN i % {size.busy} ELSE (i * 6007) % {size.posts} END + 1, "
            f"(i * 7919 + i / 7) % {size.users} + 1, "
            f"CASE WHEN i > {first_answer} THEN i - 1 END, 'Comment ' || i, {moment.format('i')}",
        ),
        fill("mutes", "user_id, muted_id", size.users - 1, "i, i + 1"),
        fill("badges", "id, user_id, title", size.users, "i, i, 'Badge ' || (i % 9)"),
        fill(
            "notifications",
            "id, user_id, message, is_read, created_at",
            size.notifications,
            f"i, i % {size.users} + 1, 'News ' || i, "
            f"CASE WHEN i % 10 = 0 THEN {truth[1]} ELSE {truth[0]} END, {moment.format('i')}",
        ),
        fill(
            "reports",
            "id, post_id, reporter_id, status, reason, created_at",
            size.reports,
            f"i, (i * 31) % {size.posts} + 1, (i * 7919) % {size.users} + 1, "
            f"CASE WHEN i % 800 = 7 THEN 'open' ELSE 'closed' END, 'Reason ' || i, "
            + moment.format(f"((i * 7919) % {size.reports})"),
        ),
        fill(
            "articles",
            "id, slug, title, body",
            size.articles,
            f"i, 'page-' || i, 'Page ' || i, {wide}",
        ),
        "INSERT INTO settings (key, value) VALUES ('site_name', 'Forum'), ('page_size', '20')",
    ]


async def seed(engine: AsyncEngine, size: str) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        if engine.dialect.name == "postgresql":
            # Else VACUUM may come too early to mark the rows as visible to all.
            await connection.execute(text("SET LOCAL synchronous_commit = on"))
        for statement in statements(SIZES[size], engine.dialect.name):
            await connection.execute(text(statement))
        if engine.dialect.name == "postgresql":
            await advance_sequences(engine, connection)
    if engine.dialect.name == "postgresql":
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("VACUUM ANALYZE"))
    else:
        async with engine.begin() as connection:
            await connection.execute(text("ANALYZE"))


async def advance_sequences(engine: AsyncEngine, connection: AsyncConnection) -> None:
    """The ids were given; the next ones come after them."""
    for table in Base.metadata.sorted_tables:
        if "id" in table.columns:
            await connection.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) "
                    f"FROM {table.name}"
                )
            )


async def main() -> None:
    size = sys.argv[1] if len(sys.argv) > 1 else "small"
    await seed(engine, size)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
