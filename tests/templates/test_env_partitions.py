"""references/scaling.md, its revisions for partitions: run, and nothing to do after each."""

import inspect
import json
import textwrap
from pathlib import Path
from types import FunctionType

import pytest

from documents.reading import read_blocks
from projects import warm
from projects.shop import DOOR, Shop
from templates.env_project import EnvProject

pytestmark = pytest.mark.older_sqlalchemy_on("postgresql")

PAGE = Path(__file__).resolve().parents[2] / "references" / "scaling.md"
CREATE = """
op.create_table(
    "events",
    sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("kind", sa.String(length=50), nullable=False),
    sa.PrimaryKeyConstraint("id", "at"),
    postgresql_partition_by="RANGE (at)",
)
op.create_index("ix_events_kind", "events", ["kind"])
op.execute("CREATE TABLE events_old (LIKE events INCLUDING ALL)")
op.execute("INSERT INTO events_old (at, kind) SELECT timestamptz '2025-06-01', 'x'"
           " FROM generate_series(1, 9)")
"""
BACK = {
    "create_partition": "op.execute('DROP TABLE events_2026_01')",
    "attach_with_rows": "op.execute('ALTER TABLE events DETACH PARTITION events_old')\n"
    "op.execute('ALTER TABLE events_old DROP CONSTRAINT IF EXISTS ck_events_old_at')",
    "detach": 'op.execute("ALTER TABLE events ATTACH PARTITION events_old'
    " FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')\")",
    "retire": "op.execute('CREATE TABLE events_old (LIKE events INCLUDING ALL)')",
}
OTHERS = """
op.execute("CREATE SCHEMA partman")
op.execute("CREATE TABLE partman.part_config (parent_table text PRIMARY KEY)")
op.execute("CREATE TABLE partman.template_public_events (LIKE events)")
op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")
op.execute("CREATE TABLE events_2027 PARTITION OF events FOR VALUES"
           " FROM ('2027-01-01') TO ('2028-01-01') PARTITION BY RANGE (at)")
op.execute("CREATE TABLE events_2027_x PARTITION OF events_2027 DEFAULT")
op.execute("CREATE INDEX events_2027_x_at ON events_2027_x (at)")
"""
SAID = {"detach-partition", "drop-table", "downgrade-leaves-trace"}
NOTHING = "No new upgrade operations detected"


def bodies() -> dict[str, str]:
    """The functions of the page, as the bodies of revisions."""
    found: dict[str, str] = {}
    for block in read_blocks(PAGE):
        if "op.execute" in block.source:
            names: dict[str, object] = {}
            exec(compile(block.source, str(PAGE), "exec"), names | {"op": None}, names)
            lines = block.source.splitlines()
            for name, made in names.items():
                if isinstance(made, FunctionType):
                    source = inspect.getblock(
                        [f"{line}\n" for line in lines[made.__code__.co_firstlineno - 1 :]]
                    )
                    found[name] = textwrap.dedent("".join(source[1:]))
    return found


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> EnvProject:
    made = EnvProject.create(tmp_path / "project", database_url)
    model = next(b.source for b in read_blocks(PAGE) if b.file == "app/db/events.py")
    (made.root / "app/models.py").write_text(model)
    (made.root / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "0"\n'
        'dependencies = ["fastapi", "sqlalchemy", "alembic"]\n'
    )
    made.edit_env(
        "UNMANAGED_TABLES: tuple[str, ...] = ()",
        'UNMANAGED_TABLES: tuple[str, ...] = ("events_*",)',
    )
    return made


@pytest.mark.dialects("postgresql")
def test_the_revisions_of_the_page_run_and_leave_nothing_to_do(project: EnvProject):
    found = bodies()
    assert list(found) == ["create_partition", "attach_with_rows", "detach", "retire"]
    project.revision(1, CREATE, "op.drop_table('events')\nop.execute('DROP TABLE events_old')")
    for number, (name, body) in enumerate(found.items(), 2):
        project.revision(number, body, BACK[name])
        project.alembic("upgrade", "head")
        assert NOTHING in project.alembic("check"), name
    project.alembic("downgrade", "base")
    project.alembic("upgrade", "head")
    assert NOTHING in project.alembic("check")
    environment = Shop.environment(Shop.__new__(Shop), project.url)
    ended = warm.door(
        DOOR, "--review", "--all", "--json", cwd=project.root, environment=environment
    )
    findings = [(one["rule"], one["verdict"]) for one in json.loads(ended.stdout)["findings"]]
    # Old code misses the rows, they are gone, and CONCURRENTLY leaves a CHECK behind: all true.
    assert {rule for rule, verdict in findings if verdict != "style"} == SAID, findings


@pytest.mark.dialects("postgresql")
def test_detached_without_its_name_in_the_settings_it_would_be_dropped(project: EnvProject):
    """So the page says: name it before."""
    project.edit_env('("events_*",)', "()")
    project.revision(1, CREATE)
    project.alembic("upgrade", "head")
    assert "events_old" in project.alembic("check", fails=True)


@pytest.mark.dialects("postgresql")
def test_partitions_of_others_are_left_alone(project: EnvProject):
    """As pg_partman and a DEFAULT make them: also without a name in the settings."""
    project.edit_env('("events_*",)', "()")
    project.revision(1, CREATE.partition("op.execute")[0])
    back = "op.execute('DROP SCHEMA partman CASCADE')\nop.execute('DROP TABLE events_default')"
    project.revision(2, OTHERS, f"{back}\nop.execute('DROP TABLE events_2027')")
    project.alembic("upgrade", "head")
    assert NOTHING in project.alembic("check")
    environment = Shop.environment(Shop.__new__(Shop), project.url)
    ended = warm.door(DOOR, "--check", cwd=project.root, environment=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.dialects("postgresql")
def test_the_door_writes_a_partitioned_table_once(project: EnvProject):
    environment = Shop.environment(Shop.__new__(Shop), project.url)
    ended = warm.door(DOOR, "events", cwd=project.root, environment=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (made,) = project.versions()
    assert "postgresql_partition_by='RANGE (at)'" in made.read_text()
    ended = warm.door(DOOR, "--check", cwd=project.root, environment=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
