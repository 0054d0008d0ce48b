"""Servers and databases for every test. Plain rules:

- PostgreSQL is never skipped; MySQL is skipped loudly, and not at all under REQUIRE_MYSQL=1.
- A server lives as long as the test session (one per xdist worker); a database, as long
  as one test.
- The summary names the servers that were really talked to, and the CPU seconds of all processes.
"""

import ast
import functools
import gc
import inspect
import os
import platform
import signal
import sqlite3
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest
import sqlalchemy

from projects import warm
from selection import by_turns, is_quick, keep, sampled, wants_older_sqlalchemy
from servers import mysql, postgres, replication
from templates import distributed

LATEST = 1  # of 2.x
DIALECTS = ("sqlite", "postgresql", "mysql")
USED = pytest.StashKey[dict[str, str]]()
RUNS = pytest.StashKey[Counter[str]]()
CALLED = pytest.StashKey[set[tuple[str, str]]]()
LEFT_OUT = pytest.StashKey[int]()
SWEPT = pytest.StashKey[int]()
TABLES = pytest.StashKey[list[str]]()
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

pytest_plugins = ["projects.fixtures", "projects.examples", "harm.fixtures", "faults.fixtures"]
# Applications that tests run; their own tests are theirs.
collect_ignore_glob = ["planted/*"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="only what needs no server and starts no program"
    )
    parser.addoption(
        "--sample", action="store_true", help="of a wide sweep (the marker) a fixed part"
    )


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # until all is collected: nothing of that goes
    config.stash[USED] = {}
    config.stash[RUNS] = Counter()
    config.stash[CALLED] = set()
    config.stash[LEFT_OUT] = 0
    config.stash[SWEPT] = 0
    config.stash[TABLES] = []
    # A shell that starts a job in the background has it ignore Ctrl-C, and so does all that the
    # job starts: the programs that tests interrupt would not notice (#10).
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        return
    # A `kill` runs the same teardown as Ctrl-C.
    signal.signal(signal.SIGTERM, interrupt)
    if config.getoption("quick"):
        return
    if not (os.environ.get("TEST_POSTGRES_URL") or postgres.binaries()):
        pytest.exit(postgres.NO_POSTGRES, returncode=1)
    if os.environ.get("REQUIRE_MYSQL") == "1" and not mysql.available():
        pytest.exit(mysql.NO_MYSQL.replace(" Every MySQL test is SKIPPED.", ""), returncode=1)


def pytest_collection_finish() -> None:
    gc.enable()


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "dialect" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("dialects")
        metafunc.parametrize("dialect", marker.args if marker else DIALECTS, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With an older SQLAlchemy, leave out what the run with the latest shows for both (#2)."""
    if config.getoption("quick"):
        keep(config, items, is_quick)
    if config.getoption("sample"):
        config.stash[SWEPT] = keep(config, items, sampled(items))
    if int(sqlalchemy.__version__.split(".")[1]) < LATEST:
        config.stash[LEFT_OUT] = keep(config, items, wants_older_sqlalchemy)
        if config.getoption("sample"):
            config.stash[SWEPT] += keep(config, items, by_turns(items))


@pytest.fixture(scope="module", autouse=True)
def _short_collections() -> None:
    """Keep what is there out of garbage collections: it is large, it grows, and some tests
    collect at each step.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_path_for_all() -> Iterator[None]:
    """An Alembic that runs in this process puts "." on the path, and Python remembers which folder
    that was: the next test's project would be looked for there (#10).
    """
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.path_importer_cache.pop(".", None)


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[postgres.PostgresServer]:
    with postgres.running_postgres() as server:
        pytestconfig.stash[USED]["PostgreSQL"] = server.version
        yield server


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[replication.Cluster]:
    """A primary with two hot standbys, whose database `shop` is empty. Leave them as they were."""
    with replication.running_cluster() as found:
        pytestconfig.stash[USED]["PostgreSQL"] = found.primary.version
        found.primary.create_database("shop")
        found.caught_up()
        yield found


@pytest.fixture(scope="session")
def mysql_server(pytestconfig: pytest.Config) -> Iterator[mysql.MySQLServer]:
    if not mysql.available():
        pytest.skip(mysql.NO_MYSQL)
    with mysql.running_mysql() as server:
        kind = "MariaDB" if "mariadb" in server.version.lower() else "MySQL"
        pytestconfig.stash[USED][kind] = server.version.split("-")[0]
        yield server


@pytest.fixture
def make_database(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], str]]:
    """Make an empty database of a dialect; its URL. All are dropped at the test's end.

    On PostgreSQL it may be a copy: `make("postgresql", template=name)`. Its server is named for
    scratch databases as well: else each run of a script would start one of its own (#11).
    """
    drops: list[Callable[[], None]] = []

    def make(dialect: str, *, template: str | None = None) -> str:
        name = f"asp_test_{uuid.uuid4().hex[:12]}"
        if dialect == "sqlite":
            pytestconfig.stash[USED]["SQLite"] = sqlite3.sqlite_version
            return f"sqlite+aiosqlite:///{tmp_path / name}.db"
        server = request.getfixturevalue(
            "postgres_server" if dialect == "postgresql" else "mysql_server"
        )
        server.create_database(name, *([template] if template else []))
        drops.append(lambda: server.drop_database(name))
        monkeypatch.setenv("SCRATCH_DATABASE_URL", server.url(name))
        return str(server.url(name))

    yield make
    for drop in drops:
        drop()


@pytest.fixture
def database_url(dialect: str, make_database: Callable[[str], str]) -> str:
    """An empty database, once for each dialect; limit it with `@pytest.mark.dialects(...)`."""
    return make_database(dialect)


@pytest.fixture
def count_runs(pytestconfig: pytest.Config) -> Callable[[str, str, int], None]:
    """Call it with what ran, on which database, and how many, for the summary."""

    def count(what: str, dialect: str, number: int) -> None:
        pytestconfig.stash[RUNS][f"{what} on {dialect}"] += number

    return count


@pytest.fixture
def show_at_the_end(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Call it with lines for the summary: with workers, nothing else of a test is seen."""
    return pytestconfig.stash[TABLES].append


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Note which functions of the examples a test that passes has called, for the summary.

    By their names in the test's code: to trace the calls makes these tests a third slower.
    """
    result = yield
    if pyfuncitem.path.parent.name == "examples":
        parameters = pyfuncitem.callspec.params if hasattr(pyfuncitem, "callspec") else {}
        dialect = str(parameters.get("dialect", "sqlite"))
        called = names_in(inspect.unwrap(pyfuncitem.function).__code__) & example_functions()
        pyfuncitem.config.stash[CALLED].update((dialect, name) for name in called)
    return result


def names_in(code: CodeType) -> set[str]:
    nested = (names_in(one) for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*nested)


@functools.cache
def example_functions() -> frozenset[str]:
    """The names of all functions and methods in the modules of the examples."""
    return frozenset(
        node.name
        for path in EXAMPLES.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    warm.end()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["servers"] = session.config.stash[USED]
        session.config.workeroutput["runs"] = dict(session.config.stash[RUNS])
        session.config.workeroutput["tables"] = session.config.stash[TABLES]
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]
        session.config.workeroutput["swept"] = session.config.stash[SWEPT]
        session.config.workeroutput["called"] = sorted(session.config.stash[CALLED])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: "object", error: object) -> None:
    output = getattr(node, "workeroutput", {})
    node.config.stash[USED].update(output.get("servers", {}))  # type: ignore[attr-defined]
    node.config.stash[RUNS].update(output.get("runs", {}))  # type: ignore[attr-defined]
    called = {(dialect, name) for dialect, name in output.get("called", ())}
    node.config.stash[CALLED].update(called)  # type: ignore[attr-defined]
    node.config.stash[TABLES].extend(output.get("tables", ()))  # type: ignore[attr-defined]
    # Each worker has collected all.
    node.config.stash[LEFT_OUT] = output.get("left_out", 0)  # type: ignore[attr-defined]
    node.config.stash[SWEPT] = output.get("swept", 0)  # type: ignore[attr-defined]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for table in config.stash[TABLES]:
        terminalreporter.write_line(f"\n{table}\n")
    used = config.stash[USED]
    databases = ", ".join(f"{name} {version}" for name, version in sorted(used.items()))
    terminalreporter.write_line(
        f"SQLAlchemy {sqlalchemy.__version__}, Python {platform.python_version()}; "
        f"databases: {databases or 'none used'}"
    )
    functions = Counter(f"example functions on {dialect}" for dialect, _ in config.stash[CALLED])
    runs = sorted([*config.stash[RUNS].items(), *functions.items()])
    if runs:
        ran = ", ".join(f"{number} {what}" for what, number in runs)
        terminalreporter.write_line(f"run as documented: {ran}")
    if config.stash[LEFT_OUT]:
        number = config.stash[LEFT_OUT]
        terminalreporter.write_line(
            f"{number} tests show nothing more with an older SQLAlchemy: 2.{LATEST} runs them"
        )
    if config.stash[SWEPT]:
        terminalreporter.write_line(
            f"{config.stash[SWEPT]} more cases of wide sweeps: make sweeps runs them"
        )
    if not config.getoption("quick") and (line := distributed.not_tried()):
        terminalreporter.write_line(line)
    spent = sum(os.times()[:4])  # with all that has ended: workers, servers, programs
    terminalreporter.write_line(f"{spent:.0f} CPU seconds in all")
    if not mysql.available() and not config.getoption("quick"):
        terminalreporter.write_line(f"WARNING: {mysql.NO_MYSQL}", red=True, bold=True)
