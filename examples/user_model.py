"""Users, posts, roles and tags: a complete model with every kind of relationship.

    python examples/user_model.py [DATABASE_URL]

Shows one-to-many (User.posts), many-to-many (User.roles, Post.tags) and self-referential
(User.manager) relationships; partial, functional and covering indexes; constraints; an enum
stored by value; JSON whose changes are noticed; soft delete with reuse of the e-mail address;
computed columns and hybrid attributes.

What it costs: loading a user is one SELECT, because no relationship loads itself. Each is
lazy="raise": a query names what it needs (`selectinload(User.posts)`, one SELECT more for all
its users together), and one that forgets to is an error in the first test instead of a statement
for each row. A generated value is read back by RETURNING; MySQL and MariaDB, which have none for
UPDATE, take a second SELECT.
"""

import enum
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ColumnElement,
    Computed,
    ForeignKey,
    Index,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload, validates
from sqlalchemy.orm.attributes import instance_state

import _setup
from base_model import Base, BaseModel, SimpleBaseModel, active_marker, utcnow
from session_manager import DatabaseSessionManager

JSON_TYPE = JSON().with_variant(JSONB(), "postgresql")
"""PostgreSQL's JSON is text: only JSONB has operators to look into it and an index."""

FIRST_DAY = datetime(2026, 1, 1, 12, tzinfo=UTC)


class RolesNotLoadedError(RuntimeError):
    """A question about roles was asked of a user whose roles are not in memory."""


class UserStatus(enum.Enum):
    """Stored by value in a VARCHAR: a new member, or a new name for one, needs no migration."""

    ACTIVE = "active"
    INVITED = "invited"
    SUSPENDED = "suspended"


# A plain table each: nothing is known of a pair but that it exists. The primary key answers
# "roles of a user", the index on its second column "users of a role" (and the delete of a role).
user_roles = Table(
    "user_roles",
    Base.metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role_id", ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True, index=True),
)
post_tags = Table(
    "post_tags",
    Base.metadata,
    Column("post_id", ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True, index=True),
)


class Role(SimpleBaseModel):
    """What a user may do. Deleted for good, if at all."""

    __tablename__ = "roles"

    name: Mapped[str] = mapped_column(String(50), unique=True)

    # passive_deletes, here and below: the database removes the pairs, by ON DELETE CASCADE. The
    # ORM would first load them all.
    users: Mapped[list["User"]] = relationship(
        secondary=user_roles, back_populates="roles", passive_deletes=True, lazy="raise"
    )


class User(BaseModel):
    """A person with an account; soft-deleted, so that posts keep their author."""

    __tablename__ = "users"
    __table_args__ = (
        # `active` is NULL once a user is deleted, and NULLs are never equal: the address is free
        # again. unique_active("email") says it shorter where MySQL does not matter.
        UniqueConstraint("email", "active"),
        # Not CheckConstraint(...) inside a mapped_column: autogenerate does not see that one.
        CheckConstraint("login_count >= 0", name="login_count_not_negative"),
        CheckConstraint("name <> ''", name="name_not_empty"),
        # Two indexes of some databases only. Alembic does not look at ddl_if by itself and would
        # propose them elsewhere again and again; templates/env.py makes it.
        # For lower(name) = :value. MariaDB has no functional indexes, and there, as on MySQL, the
        # usual collations compare without case anyway.
        Index("ix_users_name_lower", func.lower(text("name"))).ddl_if(
            dialect=("postgresql", "sqlite")  # type: ignore[arg-type] # documented, not annotated
        ),
        # For preferences @> '{"theme": "dark"}'.
        Index("ix_users_preferences", "preferences", postgresql_using="gin").ddl_if(
            dialect="postgresql"
        ),
    )
    updatable_fields = frozenset({"name", "preferences"})
    private_fields = frozenset({"password_hash"})

    email: Mapped[str] = mapped_column(String(320))
    name: Mapped[str] = mapped_column(String(100))
    status: Mapped[UserStatus] = mapped_column(
        default=UserStatus.ACTIVE, server_default=UserStatus.ACTIVE.value
    )
    password_hash: Mapped[str] = mapped_column(String(200))
    # MutableDict notices user.preferences["theme"] = "dark", but no change further inside:
    # user.preferences["mail"]["daily"] = True is not saved. Assign the inner dict anew.
    # The attribute may have any name but `metadata`, which is the table catalogue of the Base.
    preferences: Mapped[dict[str, Any]] = mapped_column(
        MutableDict.as_mutable(JSON_TYPE), default=dict
    )
    login_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    last_login_at: Mapped[datetime | None]
    manager_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    active: Mapped[bool | None] = active_marker()

    posts: Mapped[list["Post"]] = relationship(
        back_populates="author",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="Post.title",
        lazy="raise",
    )
    roles: Mapped[list[Role]] = relationship(
        secondary=user_roles,
        back_populates="users",
        passive_deletes=True,
        order_by=Role.name,
        lazy="raise",
    )
    # Both ends are users: remote_side says that `manager` is the one whose `id` is pointed to.
    manager: Mapped["User | None"] = relationship(
        back_populates="reports", remote_side="User.id", lazy="raise"
    )
    reports: Mapped[list["User"]] = relationship(
        back_populates="manager", passive_deletes=True, order_by="User.name", lazy="raise"
    )

    @validates("email")
    def _normalize_email(self, _name: str, email: str) -> str:
        """Ada@Example.com and ada@example.com are one mailbox, and so one account."""
        return email.strip().lower()

    @hybrid_property
    def is_active(self) -> bool:
        """In Python of a loaded user; in a query, a condition: `where(User.is_active)`."""
        return self.status is UserStatus.ACTIVE

    @is_active.inplace.expression
    @classmethod
    def _is_active_in_sql(cls) -> ColumnElement[bool]:
        return cls.status == UserStatus.ACTIVE

    @hybrid_property
    def label(self) -> str:
        """`Ada <ada@example.com>`; to select and to sort by, too."""
        # One body for both: + on columns is the || (or concat) of the database.
        return self.name + " <" + self.email + ">"

    @hybrid_property
    def post_count(self) -> int:
        """The number of the loaded posts; in a query, a subquery that counts them."""
        return len(self.posts)

    @post_count.inplace.expression
    @classmethod
    def _post_count_in_sql(cls) -> ColumnElement[int]:
        # correlate_except: whatever else the query selects from, this counts in posts.
        return (
            select(func.count(Post.id))
            .where(Post.author_id == cls.id)
            .correlate_except(Post)
            .scalar_subquery()
        )

    def has_role(self, *names: str) -> bool:
        """Whether the user has one of these roles. Never a query.

        RolesNotLoadedError if the roles are not in memory: an empty answer would be a wrong one.
        """
        state = instance_state(self)
        if state.key is not None and "roles" not in state.dict:
            raise RolesNotLoadedError(
                f"{self!r}.roles is not loaded: add .options(selectinload(User.roles)) to the "
                'query, or await session.refresh(user, ["roles"])'
            )
        return any(role.name in names for role in self.roles)

    @property
    def is_admin(self) -> bool:
        """As has_role."""
        return self.has_role("admin")

    async def increment_login(self, session: AsyncSession) -> int:
        """Count a login, and return the new count; flushes.

        The database adds: UPDATE users SET login_count = login_count + 1. To add in Python what
        was read before loses logins that happen at the same time.
        """
        self.login_count = User.login_count + 1
        self.last_login_at = utcnow()
        await self.save(session)
        return self.login_count

    async def verify_email(self, session: AsyncSession) -> None:
        """An invited user is active from here on; flushes. Whoever is suspended stays so."""
        if self.status is UserStatus.INVITED:
            self.status = UserStatus.ACTIVE
            await self.save(session)

    async def deactivate(self, session: AsyncSession) -> None:
        """Suspend the account, which keeps its rows and its address (soft_delete frees it)."""
        self.status = UserStatus.SUSPENDED
        await self.save(session)


class Post(BaseModel):
    """An article; a draft until it has a `published_at`. Deleted and restored with its author."""

    __tablename__ = "posts"
    __table_args__ = (
        CheckConstraint("views >= 0", name="views_not_negative"),
        # Covers "titles of an author, newest first": PostgreSQL answers from the index alone. That
        # takes deleted_at, too, which every ORM statement asks for. Elsewhere it finds the rows.
        # It serves the foreign key as well, which it begins with.
        Index(None, "author_id", "published_at", postgresql_include=["title", "deleted_at"]),
        # Small and always needed: only what readers see, in the order they see it. MySQL has no
        # partial indexes and makes it one of all posts.
        Index(
            None,
            "published_at",
            "id",
            postgresql_where=text("published_at IS NOT NULL AND deleted_at IS NULL"),
            sqlite_where=text("published_at IS NOT NULL AND deleted_at IS NULL"),
        ),
    )
    updatable_fields = frozenset({"title", "body"})

    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    published_at: Mapped[datetime | None]
    views: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    # Kept by the database, so that it is right after plain SQL, too, and a list of posts shows it
    # without reading bodies. char_length, as MySQL's length() counts bytes; SQLAlchemy writes it
    # as SQLite calls it. PostgreSQL before 18 has no computed columns but persisted ones, and
    # SQLAlchemy 2.1 no longer assumes the word. nullable: MariaDB refuses NOT NULL on a generated
    # column, and Alembic would write it; it is never NULL.
    body_length: Mapped[int] = mapped_column(
        Computed(func.char_length(text("body")), persisted=True), nullable=True
    )

    author: Mapped[User] = relationship(back_populates="posts", lazy="raise")
    tags: Mapped[list["Tag"]] = relationship(
        secondary=post_tags,
        back_populates="posts",
        passive_deletes=True,
        order_by="Tag.name",
        lazy="raise",
    )

    @hybrid_property
    def is_published(self) -> bool:
        return self.published_at is not None

    @is_published.inplace.expression
    @classmethod
    def _is_published_in_sql(cls) -> ColumnElement[bool]:
        return cls.published_at.is_not(None)


class Tag(SimpleBaseModel):
    """A word to find posts by."""

    __tablename__ = "tags"

    name: Mapped[str] = mapped_column(String(50), unique=True)

    posts: Mapped[list[Post]] = relationship(
        secondary=post_tags, back_populates="tags", passive_deletes=True, lazy="raise"
    )


_POSTS: dict[str, list[tuple[str, int, str]]] = {
    "Ada": [
        ("Async sessions explained", 900, "async"),
        ("Indexes that help", 700, "sql"),
        ("Reading a query plan", 500, "sql"),
        ("Window functions", 300, "sql"),
        ("Notes on COPY", 0, "sql"),
    ],
    "Bob": [
        ("Async generators", 450, "async python"),
        ("Dataclasses or models", 350, "python"),
        ("Loading what you need", 250, "python sql"),
        ("Typing a query", 150, "python"),
        ("Notes on pools", 0, "async"),
    ],
    "Cleo": [
        ("A first migration", 80, "sql"),
        ("Before the release", 60, "python"),
        ("Counting statements", 40, "python sql"),
        ("Dates and time zones", 20, "python"),
        ("Notes on locks", 0, "sql"),
    ],
}


async def seed(session: AsyncSession) -> list[User]:
    """Add Ada, Bob and Cleo with all that belongs to them, and flush. Returns the three.

    Ada manages Bob, Bob manages Cleo. Ada is admin and editor, Bob editor, Cleo neither. Of each
    one's five posts (views and titles above) the first four were published a day apart from
    FIRST_DAY on, in this order; the fifth is a draft.
    """
    roles = {name: Role(name=name) for name in ("admin", "editor")}
    tags = {name: Tag(name=name) for name in ("async", "python", "sql")}
    ada, bob, cleo = (
        User(
            email=f"{name.lower()}@example.com",
            name=name,
            password_hash=f"hash of {name}'s password",
            preferences={"theme": theme, "languages": languages},
            posts=[
                Post(
                    title=title,
                    body=f"{title}, by {name}.",
                    views=views,
                    published_at=FIRST_DAY + timedelta(days=day) if day < 4 else None,
                    tags=[tags[word] for word in words.split()],
                )
                for day, (title, views, words) in enumerate(_POSTS[name])
            ],
        )
        for name, theme, languages in (
            ("Ada", "dark", ["en", "fr"]),
            ("Bob", "light", ["en"]),
            ("Cleo", "dark", ["de"]),
        )
    )
    ada.roles, bob.roles, cleo.roles = [roles["admin"], roles["editor"]], [roles["editor"]], []
    bob.manager, cleo.manager = ada, bob
    session.add_all([*tags.values(), ada, bob, cleo])
    await session.flush()
    return [ada, bob, cleo]


async def main(database: DatabaseSessionManager) -> None:
    async with database.begin() as session:
        await seed(session)

    async with database.session() as session:
        users = select(User).order_by(User.name)
        everything = users.options(
            selectinload(User.posts).selectinload(Post.tags),
            selectinload(User.roles),
            selectinload(User.manager),
        )
        for user in await session.scalars(everything):
            words = {tag.name for post in user.posts for tag in post.tags}
            print(
                f"{user.label:25} posts={user.post_count} tags={','.join(sorted(words)):17}"
                f" admin={user.is_admin!s:5} manager={user.manager.name if user.manager else '-'}"
            )
        busiest = select(User.label, User.post_count).where(User.is_active).order_by(User.name)
        print("counted in SQL:", [tuple(row) for row in await session.execute(busiest)])

    async with database.begin() as session:
        ada = (await session.scalars(users)).first()
        assert ada is not None
        try:
            ada.has_role("admin")
        except RolesNotLoadedError:
            print("has_role without the roles: RolesNotLoadedError, not a hidden query")
        await ada.deactivate(session)
        await ada.verify_email(session)
        print("deactivated, then verified:", ada.status.value)
        ada.status = UserStatus.ACTIVE
        print("logins:", [await ada.increment_login(session) for _ in range(3)])
        ada.preferences["theme"] = "light"
        await session.flush()
        print("preferences:", await session.scalar(select(User.preferences).filter_by(id=ada.id)))

    async with database.begin() as session:
        newcomer = {"email": "ADA@example.com", "name": "Ada II", "password_hash": "-"}
        try:
            async with session.begin_nested():
                await User(**newcomer).save(session)
        except IntegrityError:
            print("a second ada@example.com: refused")
        await ada.soft_delete(session)
        await User(**newcomer).save(session)
        print("after she was deleted: accepted;", await Post.count(session), "posts are left")


if __name__ == "__main__":
    _setup.run(main)
