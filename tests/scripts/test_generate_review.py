"""generate-migration.sh judges: renames, what autogenerate misses, --review, --check, sizes."""

import asyncio
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from projects.setup_door import alembic
from projects.shop import Ended, Shop
from toolkit.database.rename_worker import alike, candidates
from toolkit.database.sizes import table_sizes
from toolkit.migration.by_revision import SCREEN, by_revision
from toolkit.migration.reviewing import Reviewed
from toolkit.report.exits import Exit
from toolkit.report.finding import Finding, Verdict

Make = Callable[[str], str]
NICK = "    nick: Mapped[str] = mapped_column(String(20), index=True)"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """With a naming convention, since what has no name cannot be changed."""
    shop = Shop(tmp_path / "my shop")
    shop.edit(
        "app/db.py",
        "    pass",
        '    metadata = MetaData(naming_convention={"ix": "ix_%(column_0_label)s",\n'
        '        "uq": "uq_%(table_name)s_%(column_0_name)s",\n'
        '        "ck": "ck_%(table_name)s_%(constraint_name)s", "pk": "pk_%(table_name)s"})',
    )
    shop.edit(
        "app/db.py", "from sqlalchemy.orm", "from sqlalchemy import MetaData\nfrom sqlalchemy.orm"
    )
    return shop


@pytest.fixture
def first(shop: Shop) -> Shop:
    """With the revision of its models."""
    shop.add_first(named=True)
    return shop


def execute(url: str, *statements: str) -> list[object]:
    async def run() -> list[object]:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
        await engine.dispose()
        return list(rows)

    return asyncio.run(run())


def findings(ended: Ended) -> list[tuple[str, str]]:
    document = json.loads(ended.out)
    return [(one["rule"], one["verdict"]) for one in document["findings"]]


def upgrade(shop: Shop, url: str) -> None:
    ended = alembic(shop.root / "alembic.ini", "upgrade", "head", url=url)
    assert ended.code == 0, ended.err


# Renames


@pytest.mark.dialects("postgresql", "mysql", "sqlite")
@pytest.mark.older_sqlalchemy_on("postgresql")
def test_a_rename_is_asked_for_and_keeps_the_values(
    first: Shop, dialect: str, database_url: str
) -> None:
    shop = first
    upgrade(shop, database_url)
    execute(database_url, "INSERT INTO users (id, email, nick) VALUES (1, 'a@example.com', 'ada')")
    shop.edit("app/models.py", "    nick:", "    nickname:")
    if dialect == "sqlite":
        before = shop.files()
        asked = shop.generate("two", url=database_url)
        assert asked.code == Exit.RENAME, asked.err
        assert "--rename users.nick:nickname" in asked.err
        assert shop.files() == before

    made = shop.generate("two", "--rename", "users.nick:nickname", "--json", url=database_url)
    assert made.code == 0, made.err
    assert "rename column users.nick to nickname" in json.loads(made.out)["words"]
    assert ("drop-column", "data-loss") not in findings(made)
    assert [v for _, v in findings(made)].count("breaks-old-code") >= 1
    upgrade(shop, database_url)
    assert execute(database_url, "SELECT nickname FROM users") == [("ada",)]
    ended = alembic(shop.root / "alembic.ini", "downgrade", "-1", url=database_url)
    assert ended.code == 0, ended.err
    assert execute(database_url, "SELECT nick FROM users") == [("ada",)]


@pytest.mark.any_sqlalchemy
def test_a_table_is_renamed_with_its_indexes(first: Shop, make_database: Make) -> None:
    shop, url = first, make_database("postgresql")
    upgrade(shop, url)
    execute(url, "INSERT INTO users (id, email, nick) VALUES (1, 'a@example.com', 'ada')")
    shop.edit("app/models.py", '"users"', '"people"')
    asked = shop.generate("two")
    assert asked.code == Exit.RENAME
    assert "--rename users:people" in asked.err
    made = shop.generate("two", "--rename", "users:people", url=url)
    assert made.code == 0, made.err
    upgrade(shop, url)
    assert execute(url, "SELECT nick FROM people") == [("ada",)]
    assert execute(
        url, "SELECT indexname FROM pg_indexes WHERE tablename = 'people' AND indexname ~ 'nick'"
    ) == [("ix_people_nick",)]


@pytest.mark.any_sqlalchemy
def test_a_drop_that_is_meant_is_written(first: Shop) -> None:
    shop = first
    shop.edit("app/models.py", "    nick:", "    motto:")
    made = shop.generate("two", "--no-rename")
    assert made.code == 0, made.err
    assert "DATA LOSS when it runs" in made.out
    assert "DATA-LOSS [" in made.out
    assert "alembic/versions/" in made.out.partition("The review found")[2].partition("Next:")[0]
    assert ", the drops above all" in made.out


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    "flag", ["users.nick", "users.nick:a:b", "users.nick:nobody", ":", "a.b.c.d:e"]
)
def test_a_rename_of_nothing_is_refused(shop: Shop, flag: str) -> None:
    ended = shop.generate("one", "--rename", flag)
    assert ended.code == Exit.USAGE, ended.out + ended.err
    assert "table.old:new" in ended.err or "There is no such drop and add" in ended.err
    assert shop.versions() == []


@pytest.mark.any_sqlalchemy
def test_what_looks_like_a_rename() -> None:
    """One kind of type, and alike in all else or under a name that is near."""
    old = sa.Column("state", sa.String(9))
    for new, may_be in (
        (sa.Column("phase", sa.String(9)), True),
        (sa.Column("phase", sa.String(8)), False),
        (sa.Column("states", sa.String(8), nullable=False), True),
        (sa.Column("states", sa.Integer), False),
    ):
        assert alike(old, new) is may_be, new


@pytest.mark.any_sqlalchemy
def test_no_table_is_renamed_into_another_schema() -> None:
    gone = ops.DropTableOp.from_table(sa.Table("users", sa.MetaData(), *columns(*"abc")))
    for schema, names, may_be in (
        (None, "abcde", True),  # three of five
        (None, "abxyz", False),
        ("own", "abc", False),
    ):
        made = ops.CreateTableOp("people", columns(*names), schema=schema)
        assert bool([*candidates([made, gone])]) is may_be, (schema, names)


def columns(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer) for name in names]


# What autogenerate does not see

INDEX = """
    __table_args__ = (
        sa.Index("ix_users_new", "email", sqlite_where=sa.text("id > 5")),
    )
"""


@pytest.mark.any_sqlalchemy
def test_what_autogenerate_misses_is_said_and_written_when_asked(first: Shop) -> None:
    shop = first
    shop.edit(
        "app/models.py",
        "from sqlalchemy import String",
        "import sqlalchemy as sa\nfrom sqlalchemy import String",
    )
    shop.edit("app/models.py", NICK, NICK + "\n" + INDEX.replace("id > 5", "id > 9"))
    shop.edit(
        "alembic/versions/first.py",
        'op.create_index("ix_users_nick", "users", ["nick"])',
        'op.create_index("ix_users_nick", "users", ["nick"])\n    op.create_index(\n'
        '        "ix_users_new", "users", ["email"], sqlite_where=sa.text("id > 5")\n    )',
    )
    before = shop.files()

    said = shop.generate("two")
    assert said.code == Exit.DRIFT, said.err
    assert "ix_users_new" in said.err
    assert "--apply" in said.err
    assert shop.generate("--check").code == Exit.DRIFT
    assert shop.files() == before

    made = shop.generate("two", "--apply")
    assert made.code == 0, made.err
    (path,) = (path for path in shop.versions() if path.stem != "first")
    assert "id > 9" in path.read_text()
    checked = shop.generate("--check", "--json")
    assert checked.code == 0, checked.out + checked.err
    assert "drift" not in {verdict for _, verdict in findings(checked)}


# Reviews of what is there

HAZARD = "op.execute('ALTER TABLE users ALTER COLUMN nick TYPE integer USING 0')"


@pytest.mark.any_sqlalchemy
def test_review_names_the_line_and_a_comment_allows_it(first: Shop, make_database: Make) -> None:
    """The second revision rewrites a table and has no way back."""
    shop, url = first, make_database("postgresql")
    shop.add_revision("0002", "first", HAZARD)
    before = shop.files()
    found = shop.generate("--review", "--json", url=url)
    assert found.code == Exit.HAZARDS, found.err
    document = json.loads(found.out)
    assert document["revisions"] == ["0002"]
    blocks = [one for one in document["findings"] if one["verdict"] == "blocks"]
    assert blocks and blocks[0]["table"] == "users"
    assert blocks[0]["file"].endswith("alembic/versions/0002.py")
    assert HAZARD in Path(blocks[0]["file"]).read_text().splitlines()[blocks[0]["line"] - 1]
    assert "downgrade-leaves-trace" in {one["rule"] for one in document["findings"]}
    assert shop.files() == before

    rules = sorted({one["rule"] for one in document["findings"]})
    allow = "".join(f"# migration-review: allow[{rule}] the table is empty\n" for rule in rules)
    shop.write("alembic/versions/0002.py", allow + before["alembic/versions/0002.py"])
    again = shop.generate("--review", "0002", url=url)
    assert again.code == Exit.OK, again.out + again.err


@pytest.mark.any_sqlalchemy
def test_all_of_them_and_each_by_its_file(first: Shop) -> None:
    shop = first
    shop.add_revision("0002", "first", "op.add_column('users', sa.Column('age', sa.Integer))")
    every = shop.generate("--all", "--json")
    assert every.code == Exit.HAZARDS
    assert len(json.loads(every.out)["revisions"]) == 2
    assert "downgrade-leaves-trace" in {rule for rule, _ in findings(every)}
    one = shop.generate("--review", str(shop.root / "alembic/versions/first.py"))
    assert one.code == 0, one.out
    assert "Reviewed 1 revision" in one.out
    shop.add_revision("0003", "0002")
    for target in ("nothing", "0"):
        wrong = shop.generate("--review", target)
        assert wrong.code == Exit.USAGE
        assert "--all" in wrong.err


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize("way", ["--all", "--review"])
def test_a_revision_that_fails_is_a_finding(shop: Shop, way: str) -> None:
    shop.add_revision("0001", None, "op.drop_table('nobody')")
    ended = shop.generate(way, "--json")
    assert ended.code == Exit.HAZARDS, ended.err
    assert "fails" in {verdict for _, verdict in findings(ended)}
    assert "nobody" in ended.out


@pytest.mark.any_sqlalchemy
def test_the_rest_of_a_history_is_looked_at_when_one_revision_fails(shop: Shop) -> None:
    """And what one revision leaves behind is not charged to those before it (#15)."""
    shop.add_revision("0001", None, "op.create_table('a', sa.Column('id', sa.Integer))")
    shop.add_revision("0002", "0001", "op.drop_table('nobody')")
    shop.add_revision("0003", "0002", "op.drop_table('a')")
    shop.add_revision("0004", "0003", "op.drop_table('nobody_either')")
    shop.add_revision("0005", "0004", "op.create_table('b', sa.Column('id', sa.Integer))")
    ended = shop.generate("--all", "--json")
    assert ended.code == Exit.HAZARDS, ended.err
    document = json.loads(ended.out)
    assert document["revisions"] == ["0001", "0002", "0003", "0005"]
    found = {(one["revision"], one["rule"]) for one in document["findings"]}
    assert found >= {("0002", "does-not-run"), ("0003", "drop-table")}
    assert "0004" not in {revision for revision, _ in found}
    assert any("0004 was not looked at" in note for note in document["warnings"])


@pytest.mark.any_sqlalchemy
def test_of_forty_revisions_one_fails_and_no_innocent_is_charged(
    shop: Shop, make_database: Make
) -> None:
    """The third of what the issue wants to be shown (#15)."""
    for number in range(1, 41):
        name, parent = f"{number:04}", f"{number - 1:04}" if number > 1 else None
        body = f"op.create_table('t{number}', sa.Column('id', sa.Integer, primary_key=True))"
        if number == 20:
            body = "op.drop_table('nobody')"
        elif number == 30:
            body = "op.drop_column('t1', 'id')"
        shop.add_revision(name, parent, body)
        back = "op.add_column('t1', sa.Column('id', sa.Integer))" if number == 30 else ""
        back = back or f"op.drop_table('t{number}')"
        shop.edit(f"alembic/versions/{name}.py", "    pass\n", f"    {back}\n")
    url = make_database("postgresql")
    ended = shop.generate("--all", "--json", url=url)
    assert ended.code == Exit.HAZARDS, ended.err
    document = json.loads(ended.out)
    assert document["revisions"] == [f"{number:04}" for number in range(1, 41)]
    found = [(one["revision"], one["rule"]) for one in document["findings"]]
    assert {("0020", "does-not-run"), ("0030", "drop-column")} <= set(found)
    assert {name for name, rule in found if rule != "no-lock-timeout"} == {"0020", "0030"}
    assert "the way back was not tried, since 0020 does not run" in document["warnings"]


@pytest.mark.any_sqlalchemy
def test_a_trace_is_charged_to_the_revision_that_leaves_it(shop: Shop) -> None:
    down = "    pass\n"
    for number, name in enumerate("abc", start=1):
        parent = f"000{number - 1}" if number > 1 else None
        body = f"op.create_table('{name}', sa.Column('id', sa.Integer))"
        shop.add_revision(f"000{number}", parent, body)
        if name != "b":
            shop.edit(f"alembic/versions/000{number}.py", down, f"    op.drop_table('{name}')\n")
    shop.edit("alembic/versions/0002.py", "op.create_table('b'", "op.create_table('if_b'")
    ended = shop.generate("--all", "--json")
    left = [one for one in json.loads(ended.out)["findings"] if one["source"] == "round-trip"]
    assert {one["revision"] for one in left if one["rule"] == "downgrade-leaves-trace"} == {"0002"}


IN_ONE = """
op.execute("ALTER TABLE users ADD CONSTRAINT c CHECK (id > 0) NOT VALID")
    op.execute("CREATE TYPE mood AS ENUM ('good')")
    op.execute("ALTER TABLE users ADD COLUMN mood mood")
"""


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize("own", [True, False])
def test_pending_revisions_share_a_transaction_unless_env_says_else(
    first: Shop, make_database: Make, own: bool
) -> None:
    shop, url = first, make_database("postgresql")
    if own:
        told = "target_metadata=Base.metadata, transaction_per_migration=True)"
        shop.edit("alembic/env.py", "target_metadata=Base.metadata)", told)
    shop.add_revision("0002", "first", IN_ONE.strip())
    shop.add_revision("0003", "0002", "op.execute(\"ALTER TYPE mood ADD VALUE 'bad'\")")
    shop.add_revision("0004", "0003", 'op.execute("ALTER TABLE users VALIDATE CONSTRAINT c")')
    shop.add_revision("0005", "0004", "op.execute(\"UPDATE users SET mood = 'bad' WHERE id = 1\")")
    shop.add_revision("0006", "0005", "op.execute(\"CREATE TYPE other AS ENUM ('bad')\")")
    for target, rule in (("0004", "validate-with-lock"), ("0005", "enum-value-in-transaction")):
        ended = shop.generate("--review", target, "--json", url=url)
        assert (rule in {name for name, _ in findings(ended)}) == (not own), ended.out + ended.err
    if own:
        return
    ended = shop.generate("--review", "0006", "--json", url=url)
    assert rule not in {name for name, _ in findings(ended)}, ended.out  # its own value (#12)


@pytest.mark.any_sqlalchemy
def test_a_new_enum_value_has_no_way_back_and_that_is_a_note(
    first: Shop, make_database: Make
) -> None:
    shop, url = first, make_database("postgresql")
    shop.add_revision("0002", "first", "op.execute(\"CREATE TYPE mood AS ENUM ('good')\")")
    shop.add_revision("0003", "0002", "op.execute(\"ALTER TYPE mood ADD VALUE 'bad'\")")
    ended = shop.generate("--review", "0003", "--json", url=url)
    assert ended.code == 0, ended.out + ended.err
    assert {rule for rule, _ in findings(ended)} >= {"enum-value-stays", "enum-value-twice"}


@pytest.mark.any_sqlalchemy
def test_a_downgrade_that_fails_is_a_finding(shop: Shop) -> None:
    shop.add_revision("0001", None, "op.create_table('a', sa.Column('id', sa.Integer))")
    shop.edit("alembic/versions/0001.py", "    pass\n", "    op.drop_table('b')\n")
    for way in ("--all", "--review"):
        ended = shop.generate(way, "--json")
        assert ("downgrade-fails", "irreversible") in findings(ended), ended.out + ended.err


@pytest.mark.any_sqlalchemy
def test_another_schema_the_second_time_is_a_finding(shop: Shop) -> None:
    shop.add_revision("0001", None, "op.execute('CREATE TABLE IF NOT EXISTS a (id INTEGER)')")
    shop.edit("alembic/versions/0001.py", "    pass\n", "    op.rename_table('a', 'b')\n")
    for way in ("--all", "--review"):
        ended = shop.generate(way, "--json")
        assert ("second-upgrade-differs", "irreversible") in findings(ended), ended.out + ended.err


@pytest.mark.any_sqlalchemy
def test_the_worst_verdict_says_how_a_review_ends() -> None:
    def code(*verdicts: Verdict) -> Exit:
        found = tuple(Finding("rule", one, "words") for one in verdicts)
        return Reviewed((), found, (), "nowhere").exit_code

    assert code() == code(Verdict.BRIEF_LOCK, Verdict.STYLE) == Exit.OK
    assert code(Verdict.STYLE, Verdict.DRIFT) == Exit.DRIFT
    assert code(Verdict.DRIFT, Verdict.IRREVERSIBLE) == Exit.HAZARDS
    assert code(Verdict.DATA_LOSS) == Exit.HAZARDS


@pytest.mark.any_sqlalchemy
def test_a_history_is_told_by_revision_the_worst_first() -> None:
    """A table on top, and at most a screen for each (#15)."""
    form = "def upgrade() -> None:\n" + "    pass\n" * 30
    many = [Finding(f"r{n}", Verdict.STYLE, "Words.", revision="0002") for n in range(40)]
    found = [
        Finding("a", Verdict.BLOCKS, "Blocks.", revision="0001", rewrite=form),
        Finding("b", Verdict.DATA_LOSS, "Loses.", revision="0003"),
        *many,
        Finding("c", Verdict.DRIFT, "Of all."),
    ]
    text = by_revision(found, ["0001", "0002", "0003"])
    first, *parts = text.split("\n\n")
    assert [line.split()[0] for line in first.splitlines()] == [
        "revision", "0003", "0001", "0002", "(all)",
    ]  # fmt: skip
    assert parts[0].startswith("DATA-LOSS [b]")
    assert parts[-1].startswith("DRIFT [c]")
    assert "pass" not in text
    assert "(the forms: --review 0001)" in text
    assert "more findings, and the forms: --review 0002)" in text
    assert len(text.splitlines()) < 5 + 4 * SCREEN


@pytest.mark.any_sqlalchemy
def test_without_revisions_there_is_nothing_to_review(shop: Shop) -> None:
    ended = shop.generate("--all")
    assert ended.code == Exit.USAGE, ended.err
    ended = shop.generate("--review")
    assert ended.code == Exit.USAGE, ended.err
    assert "The project has no revisions yet." in ended.err


@pytest.mark.any_sqlalchemy
def test_branches_are_reviewed_too(shop: Shop) -> None:
    create = "op.create_table('{}', sa.Column('id', sa.Integer))"
    shop.add_revision("0001", None, create.format("a"))
    shop.add_revision("0002", "0001", create.format("b"))
    shop.add_revision("0003", "0001", create.format("c"))
    for name in "123":
        shop.edit(
            f"alembic/versions/000{name}.py",
            "    pass\n",
            f"    op.drop_table('{' abc'[int(name)]}')\n",
        )
    heads = shop.generate("--check")
    assert heads.code == Exit.SEVERAL_HEADS
    # With a label each they are meant, and compared as `alembic check` does it (#13).
    for name in ("0002", "0003"):
        file = f"alembic/versions/{name}.py"
        shop.edit(file, "down_revision", f"branch_labels = ('of_{name}',)\ndown_revision")
    branches = shop.generate("--check")
    assert branches.code == Exit.DRIFT, branches.out + branches.err
    assert all(f"drop table {name}" in branches.out for name in "abc"), branches.out
    assert "downgrade" not in branches.out
    shop.write(
        "alembic/versions/0004.py",
        "revision = '0004'\ndown_revision = ('0002', '0003')\n\n"
        "def upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n",
    )
    ended = shop.generate("--all", "--json")
    assert ended.code == 0, ended.out + ended.err
    assert len(json.loads(ended.out)["revisions"]) == 4


@pytest.mark.any_sqlalchemy
def test_a_default_that_only_the_database_has_is_left(first: Shop, make_database: Make) -> None:
    """It was for the rows that were there; `alembic check` is content, and so are we (#12)."""
    shop, url = first, make_database("postgresql")
    added = "sa.Column('rank', sa.Integer, server_default='0')"
    shop.add_revision("0002", "first", f"op.add_column('users', {added})")
    shop.edit("alembic/versions/0002.py", "    pass\n", "    op.drop_column('users', 'rank')\n")
    shop.edit("app/models.py", NICK, NICK + "\n    rank: Mapped[int | None]")
    left = shop.generate("--check", url=url)
    assert left.code == 0, left.out + left.err
    told = "target_metadata=Base.metadata, compare_server_default=True)"
    shop.edit("alembic/env.py", "target_metadata=Base.metadata)", told)
    asked = shop.generate("--check", url=url)
    assert asked.code == Exit.DRIFT, asked.out


@pytest.mark.any_sqlalchemy
def test_check_says_what_has_no_revision(shop: Shop) -> None:
    empty = shop.generate("--check")
    assert empty.code == Exit.DRIFT
    assert "create table users" in empty.out
    shop.add_first(named=True)
    clean = shop.generate("--check")
    assert clean.code == 0, clean.out + clean.err
    assert clean.out == "Reviewed 1 revision on SQLite in a temporary file: nothing.\n"
    shop.edit("app/models.py", NICK, NICK + "\n    bio: Mapped[str | None]")
    before = shop.files()
    drift = shop.generate("--check")
    assert drift.code == Exit.DRIFT
    assert "DRIFT [not-migrated]" in drift.out
    assert "add column users.bio" in drift.out
    assert shop.files() == before
    many = "".join(f"\n    bio{number}: Mapped[str | None]" for number in range(30))
    shop.edit("app/models.py", NICK, NICK + many)
    drift = shop.generate("--check")
    assert "... and 11 more; --json has them all" in drift.out
    assert len(drift.out.splitlines()) < 30
    [line] = [line for line in drift.out.splitlines() if line.startswith("Write it: ")]
    written = shop.generate(*shlex.split(line)[4:])
    assert written.code == 0, written.err
    assert not written.sees_a_difference


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to do"),
        (("x", "--check"), "a message and --check"),
        (("--review", "--check"), "--review and --check"),
        (("--all", "--apply"), "--all writes nothing"),
        (("--review", "--rename", "a.b:c"), "no use for --rename"),
    ],
)
def test_options_that_do_not_go_together(
    shop: Shop, arguments: tuple[str, ...], words: str
) -> None:
    ended = shop.generate(*arguments)
    assert ended.code == Exit.USAGE
    assert words in ended.err
    assert len(ended.err.splitlines()) == 3


# For code hosts


@pytest.mark.any_sqlalchemy
def test_sarif_has_a_place_and_a_level(first: Shop) -> None:
    first.add_revision("0002", "first", "op.execute('DELETE FROM users')")
    ended = first.generate("--review", "--sarif")
    assert ended.code == Exit.HAZARDS
    document = json.loads(ended.out)
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    errors = [one for one in run["results"] if one["level"] == "error"]
    assert errors
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "alembic/versions/0002.py"
        assert place["region"]["startLine"] >= 1


# With the sizes of a real database


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.any_sqlalchemy
def test_sizes_come_from_the_database_that_is_named(first: Shop, database_url: str) -> None:
    shop = first
    upgrade(shop, database_url)
    rows = ", ".join(f"({n}, '{n}@example.com', 'n')" for n in range(1, 301))
    execute(database_url, f"INSERT INTO users (id, email, nick) VALUES {rows}")
    analyze = "ANALYZE users" if "postgres" in database_url else "ANALYZE TABLE users"
    execute(database_url, analyze)
    shop.edit("app/models.py", NICK, "")
    more = {"STATS_DATABASE_URL": database_url}
    ended = shop.generate("two", "--no-rename", url=database_url, more=more)
    assert ended.code == 0, ended.err
    assert "users has about 300 rows" in ended.out
    assert execute(database_url, "SELECT count(*) FROM users") == [(300,)]
    if "postgres" in database_url:  # another table of that name is another one
        execute(database_url, "CREATE SCHEMA own")
        execute(database_url, "CREATE TABLE own.users (id int)")
        sizes = table_sizes(make_url(database_url))
        assert (sizes["users"].rows, sizes["own.users"].rows) == (300, 0)


@pytest.mark.any_sqlalchemy
def test_sizes_that_cannot_be_read_are_one_line(shop: Shop) -> None:
    more = {"STATS_DATABASE_URL": "postgresql+asyncpg://me:s3cr3t-pw@127.0.0.1:1/x"}
    ended = shop.generate("one", more=more)
    assert ended.code == Exit.NETWORK
    assert "statistics of the tables cannot be read" in ended.err
    assert "s3cr3t-pw" not in ended.out + ended.err
    assert shop.versions() == []
    option = shop.generate("one", "--stats-url", "postgresql://me:s3cr3t-pw@127.0.0.1:1/x")
    assert option.code == Exit.USAGE
    assert "STATS_DATABASE_URL" in option.err
