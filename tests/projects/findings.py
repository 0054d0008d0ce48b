"""A result of optimize-queries with one of everything that a report can have to show."""

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from toolkit.queries.finding import Confidence, Fix, Index, Layer, QueryFinding
from toolkit.queries.plans.measure import Measured, Node, Timing
from toolkit.queries.result import Change, Excerpt, LayerState, Result, Route

CAPTURE = "bash scripts/optimize-queries.sh --run 'pytest -q' --verify"
AUTHORS = "SELECT users.id, users.name FROM users WHERE users.id = ?"
RECENT = (
    "SELECT posts.id, posts.title, posts.body, posts.created_at FROM posts "
    "WHERE posts.user_id = ? AND posts.published ORDER BY posts.created_at DESC LIMIT ?"
)
SEARCH = "SELECT posts.id FROM posts WHERE lower(posts.title) = ?"

N_PLUS_ONE = QueryFinding(
    rule="n-plus-one",
    layer=Layer.CAPTURE,
    confidence=Confidence.PROVED,
    message="The author of each post is loaded by a statement of its own.",
    evidence=(
        "200 times the same statement in one request, 3 in the one with the fewest posts",
        "612 ms of the request's 803 ms in the database",
    ),
    file="app/routers/posts.py",
    line=41,
    function="list_posts",
    unit="GET /posts",
    shape=AUTHORS,
    fix=Fix(
        "code",
        "from sqlalchemy.orm import selectinload\n\n"
        "select(Post).options(selectinload(Post.author)).order_by(Post.created_at.desc())\n",
    ),
    verify=CAPTURE,
    cost_ms=612.4,
)
LAZY = QueryFinding(
    rule="missing-greenlet",
    layer=Layer.CAPTURE,
    confidence=Confidence.PROVED,
    message="Reading Comment.post loads it lazily, which raises MissingGreenlet.",
    evidence=("GET /comments/{comment_id} answered 500",),
    file="app/routers/comments.py",
    line=18,
    function="read_comment",
    unit="GET /comments/{comment_id}",
    fix=Fix("code", "select(Comment).options(joinedload(Comment.post))"),
    verify=CAPTURE,
)
FOREIGN_KEY = QueryFinding(
    rule="foreign-key-without-index",
    layer=Layer.CATALOG,
    confidence=Confidence.PROVED,
    message="No index begins with comments.post_id, which references posts.",
    evidence=("comments has about 1,200,000 rows", "each DELETE in posts scans comments"),
    table="comments",
    fix=Fix(
        "ddl",
        "CREATE INDEX CONCURRENTLY ix_comments_post_id ON comments (post_id);",
        Index("ix_comments_post_id", "comments", ("post_id",)),
    ),
    verify="bash scripts/optimize-queries.sh --url-env DATABASE_URL",
)
RECENT_INDEX = Index(
    "ix_posts_user_id_created_at", "posts", ("user_id", "created_at DESC"), where="published"
)
RECENT_POSTS = QueryFinding(
    rule="missing-index",
    layer=Layer.PLANS,
    confidence=Confidence.MEASURED,
    message="An index on posts (user_id, created_at DESC) makes it 249 times faster.",
    evidence=("Seq Scan on posts removed 99,900 rows by its filter",),
    file="app/repositories/posts.py",
    line=77,
    function="recent_by_author",
    unit="GET /users/{user_id}/posts",
    table="posts",
    shape=RECENT,
    fix=Fix(
        "model",
        'Index("ix_posts_user_id_created_at", "user_id", desc("created_at"), '
        'postgresql_where=text("published"))',
        RECENT_INDEX,
    ),
    verify="bash scripts/optimize-queries.sh --run 'pytest -q' --verify",
    cost_ms=84.2,
)
SLOW = QueryFinding(
    rule="slow-statement",
    layer=Layer.STATEMENTS,
    confidence=Confidence.MEASURED,
    message="19 % of the database's time since 2026-11-02 is this statement.",
    evidence=("41,210 calls, 12.4 ms on average, 1,902 ms at most",),
    file="app/repositories/search.py",
    line=12,
    function="by_title",
    shape=SEARCH,
    cost_ms=12.4,
)
SUSPECTED = QueryFinding(
    rule="count-by-loading",
    layer=Layer.CODE,
    confidence=Confidence.SUSPECTED,
    message="All rows are loaded to count them.",
    evidence=("len((await session.scalars(...)).all())",),
    file="app/routers/stats.py",
    line=9,
    function="totals",
    fix=Fix("code", "await session.scalar(select(func.count()).select_from(Post))"),
)
WILDCARD = QueryFinding(
    rule="leading-wildcard",
    layer=Layer.CODE,
    confidence=Confidence.SUSPECTED,
    message="LIKE with a wildcard in front cannot use an ordinary index.",
    file="app/repositories/search.py",
    line=31,
    function="contains",
)
UNUSED = QueryFinding(
    rule="unused-index",
    layer=Layer.CATALOG,
    confidence=Confidence.MEASURED,
    message="ix_posts_title was not used in the 19 days that the statistics cover.",
    table="posts",
)

SCAN = Node(
    "Seq Scan on posts",
    rows=100,
    estimated=2500,
    ms=79.1,
    cost=2541.0,
    buffers=1178,
    notes=("removed 99,900 rows by its filter",),
)
USERS = Node("Index Scan using users_pkey on users", 1, 1, 0.02, 8.3, 3)
BEFORE = Timing(
    84.2,
    1181,
    Node(
        "Limit",
        rows=20,
        estimated=20,
        ms=0.01,
        cost=2660.1,
        children=(
            Node(
                "Sort by created_at DESC",
                rows=20,
                estimated=2500,
                ms=4.9,
                cost=2654.0,
                notes=("top-N heapsort, 32 kB",),
                children=(Node("Nested Loop", 100, 2500, 0.2, 2600.0, children=(USERS, SCAN)),),
            ),
        ),
    ),
)
AFTER = Timing(
    0.338,
    11,
    Node(
        "Limit",
        rows=20,
        estimated=20,
        ms=0.004,
        cost=4.8,
        children=(
            Node(
                "Nested Loop",
                rows=20,
                estimated=20,
                ms=0.01,
                children=(
                    USERS,
                    Node(
                        "Index Scan using ix_posts_user_id_created_at on posts",
                        rows=20,
                        estimated=20,
                        ms=0.304,
                        cost=4.6,
                        buffers=8,
                    ),
                ),
            ),
        ),
    ),
)
MEASURED = Measured(
    RECENT,
    "app/repositories/posts.py",
    77,
    "GET /users/{user_id}/posts",
    BEFORE,
    AFTER,
    RECENT_INDEX,
    "CREATE INDEX ix_posts_user_id_created_at ON posts (user_id, created_at DESC) WHERE published",
    size_bytes=2_203_648,
    build_ms=31.4,
    write_ratio=1.08,
    estimated_cost=(2660.1, 4.8),
)
OTHER = Measured(
    "SELECT count(*) FROM users",
    "app/routers/stats.py",
    14,
    "GET /stats",
    Timing(3.1, None, Node("Aggregate", children=(Node("SCAN users"),))),
    note="It reads the whole table, which no index changes.",
)

EXCERPT = Excerpt(
    37,
    (
        '    @router.get("/posts")',
        "    async def list_posts(session: SessionDep) -> list[PostOut]:",
        "        posts = await session.scalars(select(Post).order_by(Post.created_at.desc()))",
        "        return [",
        "            PostOut(id=post.id, title=post.title, author=(await post.awaitable_attrs.author).name)",  # noqa: E501
        "            for post in posts",
        "        ]",
    ),
    41,
)

ROUTES = (
    Route("GET /posts", 14, 201, 631.0, 803.0, 400, budget=20),
    Route("GET /users/{user_id}/posts", 6, 2, 86.0, 91.5, 21, budget=4),
    Route(
        "tests/test_feed.py::test_feed_of_somebody_with_many_followers", 1, 64, 44.0, 180.2, 1200
    ),
    Route("POST /posts", 9, 4, 3.2, 9.7, 1),
    Route("GET /comments/{comment_id}", 3, 1, 0.9, 4.4, 1),
    *(Route(f"GET /things/{number}", 1, 1, 0.4, 2.0, 1) for number in range(1, 9)),
)


def forum() -> Result:
    """PostgreSQL, all layers, one of each kind of finding."""
    return Result(
        title="forum",
        command="optimize-queries.sh --run 'pytest -q'",
        database="PostgreSQL 15.18",
        layers=(
            LayerState(Layer.CODE, True, "31 files with 84 queries", 0.21),
            LayerState(Layer.CAPTURE, True, "128 tests, 61 requests, 2,911 statements", 9.4),
            LayerState(Layer.STATEMENTS, True, "312 statements, 41 of them of the tests", 0.12),
            LayerState(Layer.CATALOG, True, "14 tables, 31 indexes", 0.08),
            LayerState(Layer.PLANS, True, "12 statements, 19 candidates, 3 indexes built", 3.7),
        ),
        findings=(
            N_PLUS_ONE,
            LAZY,
            FOREIGN_KEY,
            RECENT_POSTS,
            SLOW,
            UNUSED,
            SUSPECTED,
            WILDCARD,
        ),
        routes=ROUTES,
        measured=(MEASURED, OTHER),
        excerpts={N_PLUS_ONE.fingerprint: EXCERPT},
        known=frozenset({UNUSED.fingerprint}),
        over_budget=(ROUTES[0],),
        changes=(
            Change("GET /posts", (201, 2), (631.0, 5.1)),
            Change("GET /users/{user_id}/posts", (2, 2), (86.0, 1.2)),
        ),
        notes=("The scratch copy has 10,000 rows a table, made up from the real statistics.",),
    )


def nothing() -> Result:
    """A project in which there was nothing to find, seen by one layer."""
    layers = (
        LayerState(Layer.CODE, True, "3 files with 4 queries", 0.1),
        LayerState(Layer.CAPTURE, False, "neither --run nor --app was given"),
    )
    return replace(
        forum(),
        title="quiet",
        database="",
        layers=layers,
        findings=(),
        routes=(),
        measured=(),
        excerpts={},
        known=frozenset(),
        over_budget=(),
        changes=(),
        notes=(),
    )


HOSTILE = "\x1b[2J\u202e</style></script><script>hacked = 1</script>\" onfocus='x'\r\n{0}[a](b)"


def poisoned(value: Any) -> Any:
    """The same with `HOSTILE` at the end of each text in it: any may be a stranger's."""
    if isinstance(value, Enum) or value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value + HOSTILE
    if is_dataclass(value):
        made = {one.name: poisoned(getattr(value, one.name)) for one in fields(value)}
        return replace(value, **made)  # type: ignore[type-var]
    if isinstance(value, dict):
        return {key: poisoned(one) for key, one in value.items()}
    return type(value)(poisoned(one) for one in value)
