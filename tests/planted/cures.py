"""The planted faults cured as the fixes say, one by one, as edits of the source.

Edits are about the forum as `judging.copy_without_tags` makes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Edit:
    """Replace `old`, which is there exactly once."""

    file: str
    old: str
    new: str


POSTS = "app/routers/posts.py"
COMMENTS = "app/routers/comments.py"
CATEGORIES = "app/routers/categories.py"
MODERATION = "app/routers/moderation.py"
ADMIN = "app/routers/admin.py"
USERS = "app/services/users.py"
REPOSITORY = "app/repositories/comments.py"
LIVE = "app/services/live.py"

EDITS: dict[str, tuple[Edit, ...]] = {
    "awaitable-attrs": (
        Edit(
            POSTS,
            "    posts = (await session.scalars("
            "select(Post).order_by(Post.id.desc()).limit(limit))).all()\n",
            "    query = select(Post).options(selectinload(Post.author)).order_by(Post.id.desc())\n"
            "    posts = (await session.scalars(query.limit(limit))).all()\n",
        ),
    ),
    "cartesian": (
        Edit(
            POSTS,
            'Category.title.label("category")).where(',
            'Category.title.label("category")).join(Category, '
            "Post.category_id == Category.id).where(",
        ),
    ),
    "deep-offset": (
        Edit(
            POSTS,
            "page: int = 1, size: Limit = 20) -> Any:\n",
            "page: int = 1, size: Limit = 20, after: int | None = None) -> Any:\n",
        ),
        Edit(
            POSTS,
            ".order_by(Post.id).offset((page - 1) * size).limit(size)\n",
            ".order_by(Post.id).limit(size)\n"
            "    if after is not None:\n"
            "        query = query.where(Post.id > after)\n"
            "    else:\n"
            "        query = query.offset((page - 1) * size)\n",
        ),
    ),
    "response-model": (
        Edit(
            POSTS,
            "        select(Post).where(Post.id == post_id)\n",
            "        select(Post).options(joinedload(Post.category)).where(Post.id == post_id)\n",
        ),
    ),
    "run-sync": (
        Edit(
            POSTS,
            "    post = session.get_one(Post, post_id)\n    lines",
            "    authors = selectinload(Post.comments).selectinload(Comment.author)\n"
            "    post = session.get_one(Post, post_id, options=[authors])\n    lines",
        ),
        Edit(POSTS, "import Category, Post,", "import Category, Comment, Post,"),
    ),
    "held": (
        Edit(
            POSTS,
            "    post.preview = await fetch_preview(post.title)\n",
            "    await session.commit()\n    post.preview = await fetch_preview(post.title)\n",
        ),
    ),
    "swallowed-lazy-load": (
        Edit(
            "app/services/summaries.py",
            "select(Post).where(",
            "select(Post).options(joinedload(Post.category)).where(",
        ),
        Edit(
            "app/services/summaries.py",
            "import AsyncSession\n",
            "import AsyncSession\nfrom sqlalchemy.orm import joinedload\n",
        ),
    ),
    "unbounded": (
        Edit(
            USERS,
            "select(User.id, User.name).order_by(User.id)\n",
            "select(User.id, User.name).order_by(User.id).limit(100)\n",
        ),
    ),
    "comprehension": (
        Edit(
            USERS,
            "        return [\n            (user.name, await self.badges(user))\n"
            "            for user in users\n        ]\n",
            "        found = users.all()\n"
            "        titles: dict[int, list[str]] = {user.id: [] for user in found}\n"
            "        query = select(Badge.user_id, Badge.title).where(Badge.user_id.in_(titles))\n"
            "        for user_id, title in await self.db.execute(query):\n"
            "            titles[user_id].append(title)\n"
            "        return [(user.name, titles[user.id]) for user in found]\n",
        ),
    ),
    "gathered": (
        Edit(
            USERS,
            "    return list(\n"
            "        await asyncio.gather(*(one_profile(id_) for id_ in ids))\n"
            "    )\n",
            "    async with SessionFactory() as session:\n"
            "        query = select(User.id, User.name).where(User.id.in_(ids))\n"
            "        names = {id_: name for id_, name in await session.execute(query)}\n"
            '    return [{"id": id_, "name": names.get(id_)} for id_ in ids]\n',
        ),
    ),
    "count-per-row": (
        Edit(
            CATEGORIES,
            "    for category in (await session.scalars(select(Category))).all():\n"
            "        result[category.slug] = await session.scalar(\n"
            "            select(func.count()).select_from(Post)"
            ".where(Post.category_id == category.id)\n"
            "        )\n",
            "    query = select(Post.category_id, func.count()).group_by(Post.category_id)\n"
            "    numbers = {id_: number for id_, number in await session.execute(query)}\n"
            "    for category in (await session.scalars(select(Category))).all():\n"
            "        result[category.slug] = numbers.get(category.id, 0)\n",
        ),
    ),
    "nested-outer": (
        Edit(
            CATEGORIES,
            "    for category in await session.scalars(select(Category).order_by("
            "Category.position)):\n"
            "        newest = select(Post.id, Post.title).where(Post.category_id == category.id)\n"
            "        rows = await session.execute(\n"
            "            newest.order_by(Post.id.desc()).limit(posts)\n"
            "        )\n",
            "    found = (await session.scalars(select(Category).order_by(Category.position)))"
            ".all()\n"
            "    newest = [\n"
            "        select(Post.category_id, Post.id, Post.title)\n"
            "        .where(Post.category_id == category.id)\n"
            "        .order_by(Post.id.desc())\n"
            "        .limit(posts)\n"
            "        .subquery()\n"
            "        for category in found\n"
            "    ]\n"
            "    query = union_all(*(select(one) for one in newest))\n"
            "    by_category: dict[int, list[Any]] = {one.id: [] for one in found}\n"
            "    for category_id, id_, title in await session.execute(query):\n"
            "        by_category[category_id].append((id_, title))\n"
            "    for category in found:\n"
            "        rows = by_category[category.id]\n",
        ),
    ),
    "nested-inner": (
        Edit(
            CATEGORIES,
            "            number = await session.scalar(\n"
            "                select(func.count(Comment.id)).where(Comment.post_id == id_)\n"
            "            )\n",
            "            number = numbers.get(id_, 0)\n",
        ),
        Edit(
            CATEGORIES,
            "    for category in found:\n",
            "    ids = [id_ for rows in by_category.values() for id_, _ in rows]\n"
            "    number_of = select(Comment.post_id, func.count()).group_by(Comment.post_id)\n"
            "    per_post = await session.execute(number_of.where(Comment.post_id.in_(ids)))\n"
            "    numbers = {post_id: number for post_id, number in per_post}\n"
            "    for category in found:\n",
        ),
    ),
    "get-in-loop": (
        Edit(
            COMMENTS,
            "    for comment in await comments.latest(limit):\n"
            "        user = await session.get(User, comment.author_id)\n",
            "    found = await comments.latest(limit)\n"
            "    query = select(User).where(User.id.in_({one.author_id for one in found}))\n"
            "    users = {user.id: user for user in await session.scalars(query)}\n"
            "    for comment in found:\n"
            "        user = users.get(comment.author_id)\n",
        ),
    ),
    "helper": (
        Edit(
            COMMENTS,
            "    found = await comments.latest(limit)\n"
            "    return [\n"
            '        {"id": comment.id, "body": comment.body}\n'
            "        for comment in found\n"
            "        if not await has_muted(session, user_id, comment.author_id)\n",
            "    found = await comments.latest(limit)\n"
            "    muted = await muted_by(session, user_id)\n"
            "    return [\n"
            '        {"id": comment.id, "body": comment.body}\n'
            "        for comment in found\n"
            "        if comment.author_id not in muted\n",
        ),
    ),
    "flush-in-loop": (
        Edit(
            COMMENTS,
            "    ids = []\n    for body in given.bodies:\n"
            "        comment = Comment("
            "post_id=given.post_id, author_id=given.author_id, body=body)\n"
            "        comments.add(comment)\n"
            "        await comments.save()\n"
            "        ids.append(comment.id)\n"
            "    await session.commit()\n"
            "    return ids\n",
            "    added = []\n    for body in given.bodies:\n"
            "        comment = Comment("
            "post_id=given.post_id, author_id=given.author_id, body=body)\n"
            "        comments.add(comment)\n"
            "        added.append(comment)\n"
            "    await comments.save()\n"
            "    await session.commit()\n"
            "    return [comment.id for comment in added]\n",
        ),
    ),
    "parent-chain": (
        Edit(
            REPOSITORY,
            "        chain: list[Comment] = []\n"
            "        current: Comment | None = comment\n"
            "        while current is not None and current.parent_id is not None:\n"
            "            current = await self.get(current.parent_id)\n"
            "            if current is not None:\n"
            "                chain.append(current)\n"
            "        return chain\n",
            "        up = select(Comment.id, Comment.parent_id).where(Comment.id == comment.id)\n"
            "        tree = up.cte(recursive=True)\n"
            "        parents = select(Comment.id, Comment.parent_id)\n"
            "        parents = parents.join(tree, Comment.id == tree.c.parent_id)\n"
            "        tree = tree.union_all(parents)\n"
            "        query = select(Comment).join(tree, Comment.id == tree.c.id)\n"
            "        found = {one.id: one for one in await self._session.scalars(query)}\n"
            "        chain: list[Comment] = []\n"
            "        current: Comment | None = comment\n"
            "        while current is not None and current.parent_id is not None:\n"
            "            current = found.get(current.parent_id)\n"
            "            if current is not None:\n"
            "                chain.append(current)\n"
            "        return chain\n",
        ),
    ),
    "len-of-rows": (
        Edit(
            REPOSITORY,
            "        query = select(Notification)\n"
            "        rows = (await self._session.scalars(query)).all()\n"
            "        return len(rows)\n",
            "        query = select(func.count()).select_from(Notification)\n"
            "        return await self._session.scalar(query) or 0\n",
        ),
        Edit(REPOSITORY, "import insert, select", "import func, insert, select"),
    ),
    "text-in-loop": (
        Edit(
            MODERATION,
            'SAME_POST = text("SELECT count(*) FROM reports WHERE post_id = :post_id")\n',
            "SAME_POST = text(\n"
            '    "SELECT post_id, count(*) FROM reports WHERE post_id IN :post_ids '
            'GROUP BY post_id"\n'
            ').bindparams(bindparam("post_ids", expanding=True))\n',
        ),
        Edit(
            MODERATION,
            "    out = []\n    for id_, post_id in reports:\n"
            '        values = {"post_id": post_id}\n'
            "        others = await session.scalar(SAME_POST, values)\n"
            '        out.append({"id": id_, "same_post": others})\n',
            '    values = {"post_ids": list({post_id for _, post_id in reports})}\n'
            "    found = await session.execute(SAME_POST, values)\n"
            "    others = {post_id: number for post_id, number in found}\n"
            "    out = []\n    for id_, post_id in reports:\n"
            '        out.append({"id": id_, "same_post": others[post_id]})\n',
        ),
        Edit(
            MODERATION,
            "from sqlalchemy import select, text, update",
            "from sqlalchemy import bindparam, select, text, update",
        ),
    ),
    "literals": (
        Edit(
            MODERATION,
            "    sql = f\"SELECT id FROM categories WHERE slug = '{slug}'\"\n"
            "    rows = await session.execute(text(sql))\n",
            '    sql = "SELECT id FROM categories WHERE slug = :slug"\n'
            '    rows = await session.execute(text(sql), {"slug": slug})\n',
        ),
    ),
    "commit-in-loop": (
        Edit(
            MODERATION,
            '        report.status = "settled"\n        await session.commit()\n',
            '        report.status = "settled"\n    await session.commit()\n',
        ),
    ),
    "update-in-loop": (
        Edit(
            MODERATION,
            "    for post_id, score in scores.items():\n"
            "        statement = update(Post).where(Post.id == post_id).values(score=score)\n"
            "        await session.execute(statement)\n",
            '    rows = [{"id": post_id, "score": score} for post_id, score in scores.items()]\n'
            "    await session.execute(update(Post), rows)\n",
        ),
    ),
    "settings": (
        Edit(
            "app/services/settings.py",
            "    query = select(Setting.value).where(Setting.key == key)\n"
            "    return await session.scalar(query) or default\n",
            '    known = session.info.setdefault("settings", {})\n'
            "    if key not in known:\n"
            "        query = select(Setting.value).where(Setting.key == key)\n"
            "        known[key] = await session.scalar(query)\n"
            "    return known[key] or default\n",
        ),
    ),
    "left-open": (
        Edit(
            LIVE,
            "        if self.session is None:\n"
            "            self.session = SessionFactory()\n"
            "        settings = await self.session.scalar(\n"
            "            select(func.count()).select_from(Setting)\n"
            "        )\n"
            "        categories = await self.session.scalar(\n"
            "            select(func.count()).select_from(Category)\n"
            "        )\n",
            "        async with SessionFactory() as session:\n"
            "            settings = await session.scalar(select(func.count())"
            ".select_from(Setting))\n"
            "            categories = await session.scalar(select(func.count())"
            ".select_from(Category))\n",
        ),
    ),
    "engine-per-request": (
        Edit(
            ADMIN,
            "    engine = create_async_engine(DATABASE_URL)\n"
            "    try:\n"
            "        async with engine.connect() as connection:\n"
            '            return {"alive": await connection.scalar(text("SELECT 1")) == 1}\n'
            "    finally:\n"
            "        await engine.dispose()\n",
            "    async with engine.connect() as connection:\n"
            '        return {"alive": await connection.scalar(text("SELECT 1")) == 1}\n',
        ),
        Edit(
            ADMIN,
            "from app.db import DATABASE_URL, SessionDep",
            "from app.db import SessionDep, engine",
        ),
        Edit(ADMIN, "import AsyncSession, create_async_engine", "import AsyncSession"),
    ),
    "insert-in-loop": (
        Edit(
            ADMIN,
            "    for name in names:\n"
            "        await session.execute(insert(Tag).values(name=name))\n",
            '    await session.execute(insert(Tag), [{"name": name} for name in names])\n',
        ),
    ),
    "refresh-in-loop": (
        Edit(ADMIN, "    for user in users:\n        await session.refresh(user)\n", ""),
    ),
    "expired": (
        Edit(
            "app/jobs.py",
            "JobSession = async_sessionmaker(engine)",
            "JobSession = async_sessionmaker(engine, expire_on_commit=False)",
        ),
    ),
    "wide": (
        Edit(
            "app/routers/articles.py",
            "    query = select(Article).order_by(",
            "    wanted = load_only(Article.slug, Article.title)\n"
            "    query = select(Article).options(wanted).order_by(",
        ),
    ),
}

BY_INDEX = frozenset(
    {
        "feed",
        "lower-email",
        "partial",
        "of-author",
        "duplicate-index",
        "prefix-index",
        "wildcard",
    }
)
"""Cured by the DDL that the tool prints."""

CURED_WITH = {"fk-index": "of-author"}
"""The same index is the fix of both."""

NOT_CURED = {"sort-spill": "the fix is more memory, or fewer rows"}


def apply(root: Path, names: Iterable[str] = tuple(EDITS)) -> None:
    """Edit a copy. Raises ValueError where the text to replace is not there exactly once."""
    for name in names:
        for edit in EDITS[name]:
            path = root / edit.file
            source = path.read_text(encoding="utf-8")
            if source.count(edit.old) != 1:
                raise ValueError(f"{name}: {source.count(edit.old)} times in {edit.file}")
            path.write_text(source.replace(edit.old, edit.new), encoding="utf-8")
