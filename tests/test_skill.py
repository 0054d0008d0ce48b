"""The skill as a package: what SKILL.md and README say exists, runs and stays in step."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from documents import commands
from projects import warm
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

ROOT = Path(__file__).resolve().parent.parent
NAME = "async-sqlalchemy-patterns"
DOCUMENTS = ("SKILL.md", "README.md", "AGENTS.md")
DOORS = (
    "setup-alembic.sh",
    "generate-migration.sh",
    "test-connection.sh",
    "optimize-queries.sh",
)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def git(*arguments: str) -> bytes:
    # The checkout may belong to another user than the one who runs the tests.
    command = ["git", "-C", str(ROOT), "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def project_files() -> list[Path]:
    """Every file that git has or would take."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode()
    files = [ROOT / name for name in sorted(set(listed.split("\0"))) if name]
    found = [path for path in files if path.is_file() or path.is_symlink()]
    assert len(found) > 40, "the list of files is not the project's"
    return found


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


# The frontmatter


def frontmatter() -> dict[str, str]:
    """Top-level fields of SKILL.md's frontmatter; folded values joined by blanks."""
    text = read("SKILL.md").split("---\n")[1]
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(" "):
            name = list(fields)[-1]
            fields[name] = f"{fields[name]} {line.strip()}".strip()
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip().removeprefix(">-")
    return fields


def validate(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("agentskills")
    # By its interpreter: the program's first line cannot name a path with spaces.
    return run(sys.executable, str(program), "validate", str(folder), cwd=folder.parent)


def test_the_reference_validator_accepts_the_skill(tmp_path: Path) -> None:
    skill = tmp_path / NAME
    skill.mkdir()
    shutil.copy(ROOT / "SKILL.md", skill)
    result = validate(skill)
    assert result.returncode == 0, result.stdout + result.stderr

    elsewhere = tmp_path / "another-name"
    shutil.copytree(skill, elsewhere)
    assert validate(elsewhere).returncode != 0


def test_frontmatter_has_only_fields_of_the_specification() -> None:
    fields = frontmatter()
    allowed = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
    assert {"name", "description"} <= fields.keys() <= allowed
    assert fields["name"] == NAME
    assert len(fields["compatibility"]) <= 500


def test_description_says_what_when_and_when_not() -> None:
    description = frontmatter()["description"]
    assert 350 <= len(description) <= 500
    assert description.startswith("Async SQLAlchemy")
    assert "Use when" in description
    assert "Not for" in description
    assert not re.search(r"[<>]|: ", description)


def test_skill_is_short_enough_to_survive_compaction() -> None:
    text = read("SKILL.md")
    assert len(text.splitlines()) <= 250
    assert len(text) <= 20_000
    assert text.index("## Rules") < 2_500, "agents keep the head of a long skill: rules come first"


def test_versions_agree() -> None:
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    newest = re.search(r"^## (\d+\.\d+\.\d+)", read("CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert newest[1] == version
    assert frontmatter()["metadata"] == f'version: "{version}"'
    assert json.loads(read(".claude-plugin/plugin.json"))["version"] == version
    (offered,) = json.loads(read(".claude-plugin/marketplace.json"))["plugins"]
    assert offered["version"] == version


def test_the_manifests_of_the_plugin_say_the_same() -> None:
    plugin = json.loads(read(".claude-plugin/plugin.json"))
    market = json.loads(read(".claude-plugin/marketplace.json"))
    (offered,) = market["plugins"]
    assert plugin["name"] == offered["name"] == NAME
    assert plugin["description"] == offered["description"]
    assert plugin["license"] == frontmatter()["license"]
    # The skill is found at the root all the same; named, its folder may hold no evals.
    assert "skills" not in plugin
    assert offered["source"] == "./"
    assert market["metadata"]["description"]
    assert market["owner"]["name"] == plugin["author"]["name"]
    assert not (ROOT / "CLAUDE.md").exists(), "the strict validator of plugins refuses it"


# What the documents name


def named_paths(text: str) -> set[str]:
    """Paths below the repository's root in code spans, links and fences."""
    tops = "scripts|templates|examples|tests|references|evals"
    below = re.findall(rf"(?<![\w./-])((?:{tops})/[\w./*-]*[\w/*])", text)
    whole = re.findall(r"`((?:[A-Z]+\.md|LICENSE|Makefile|pyproject\.toml|\.\w[\w/.]+))`", text)
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    own = {*whole, *links} - {".venv"}
    return {*below, *own}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_in_the_documents_exists(document: str) -> None:
    paths = named_paths(read(document))
    assert len(paths) >= 6
    missing = [
        path
        for path in sorted(paths)
        if not (list(ROOT.glob(path)) if "*" in path else (ROOT / path).exists())
    ]
    assert missing == []


def test_a_path_that_is_not_there_is_found() -> None:
    assert named_paths("see `scripts/none.sh` and [x](nowhere.md)") == {
        "scripts/none.sh",
        "nowhere.md",
    }


def shipped_to_readers() -> list[str]:
    """What a reader of the skill opens or runs; a folder of an example counts as one."""
    names = {path.relative_to(ROOT).as_posix() for path in project_files()}
    wanted = {name for name in names if re.fullmatch(r"(templates|references)/[^/]+", name)}
    wanted |= {f"scripts/{door}" for door in DOORS}
    wanted |= {name for name in names if re.fullmatch(r"examples/[a-z]\w*\.py", name)}
    return sorted(wanted | {"examples/testing_patterns/"})


def test_the_table_of_tasks_names_every_file_once() -> None:
    table = read("SKILL.md").partition("| Task | File |")[2].partition("\n\n")[0]
    named = re.findall(r"`([^`]+/[^`]+)`", table)
    assert sorted(named) == shipped_to_readers()
    assert len(named) >= 20


def test_readme_names_every_script_template_and_reference() -> None:
    """Examples are in SKILL.md's table."""
    missing = [
        name
        for name in shipped_to_readers()
        if not name.startswith("examples/")
        and name.removeprefix("scripts/").removeprefix("templates/") not in read("README.md")
    ]
    assert missing == []


# A token of English or code is rarely shorter, by the tokenizers that can be looked into.
CHARACTERS_PER_TOKEN = 3.5


def test_the_skill_has_few_tokens() -> None:
    assert len(read("SKILL.md")) / CHARACTERS_PER_TOKEN <= 3_000


def test_long_references_have_a_table_of_contents() -> None:
    references = sorted((ROOT / "references").glob("*.md"))
    assert len(references) >= 11
    for path in references:
        text = path.read_text(encoding="utf-8")
        linked = set(re.findall(r"\(#([^)]+)\)", text))
        assert linked <= anchors(text, "#{2,}"), path.name
        if len(text.splitlines()) > 100:
            assert anchors(text, "##") <= linked, path.name


def anchors(text: str, level: str) -> set[str]:
    """What a link to a title of this level (a pattern) says after its `#`."""
    titles = re.findall(rf"^{level} (.+)$", text, re.MULTILINE)
    return {commands.anchor(title) for title in titles}


def test_links_and_tests_that_references_name_exist() -> None:
    for path in sorted((ROOT / "references").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if "://" not in link:
                assert (path.parent / link).exists(), f"{path.name}: {link}"
        for name in re.findall(r"`((?:tests|templates|examples|scripts)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{path.name}: {name}"
        for file, test in re.findall(r"`(tests/[\w./-]+)::(\w+)`", text):
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


def test_every_defect_of_the_skill_before_this_has_a_test() -> None:
    """Numbers 1 to 50 of its audit."""
    sources = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*/test_*.py"))
    numbers = {int(number) for number in re.findall(r"def test_seed_(\d\d)_", sources)}
    assert sorted(set(range(1, 51)) - numbers) == []


LINTED_AS = {
    "without a configuration": [],
    "as many have it": ["--line-length=100", "--select=E,F,W,I,UP,B,C4,SIM"],
    # Of everything that there is, but: docstrings of each method and texts of errors apart (D, EM,
    # TRY003), taste (COM812, CPY001, FBT, TC), private names of SQLAlchemy that have no public one
    # (SLF001), and what a general tool has to take (ANN401, ARG, ASYNC109, C901, PLR), imports of
    # optional packages (PLC0415), random delays and asserts (S), a class that is a SQL function
    # (N801), and a wait for a task (ASYNC110).
    "ALL, minus this list": [
        "--line-length=100",
        "--target-version=py311",
        "--select=ALL",
        "--ignore=D,EM,TRY003,COM812,CPY001,FBT,TC,SLF001,ANN401,ARG,ASYNC109,C901,PLR,PLC0415,S,"
        "N801,ASYNC110",
    ],
}


@pytest.mark.parametrize("options", LINTED_AS.values(), ids=LINTED_AS)
def test_templates_pass_the_linter_of_whoever_copies_them(
    options: list[str], tmp_path: Path
) -> None:
    """In a project of its own, with nothing of this repository's configuration (#16)."""
    for path in (ROOT / "templates").glob("*.py"):
        shutil.copyfile(path, tmp_path / path.name)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--quiet"]
    result = run(*ruff, *options, ".", cwd=tmp_path)
    assert result.returncode == 0, result.stdout


def test_names_that_people_look_for_are_here() -> None:
    """The right column of "You know it as" (#16): each name is in a template or an example."""
    table = read("references/moving.md").partition("## You know it as")[2].partition("\n\n```")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) >= 15
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("templates", "examples")
        for path in sorted((ROOT / folder).glob("*.py"))
    )
    same = [name for row in rows if "the same" in row[1] for name in re.findall(r"`(\w+)", row[0])]
    here = [name for row in rows for name in re.findall(r"`(?:\w+\.)?(\w+)(?:\(\))?`", row[1])]
    assert len(same) + len(here) >= 35
    assert [name for name in (*same, *here) if not re.search(rf"\b{name}\b", code)] == []


def help_of(door: str, cwd: Path) -> str:
    command = ["env", f"VIRTUAL_ENV={sys.prefix}", "bash", str(ROOT / "scripts" / door), "--help"]
    result = run(*command, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("command", ["setup", "generate", "connection", "queries"])
def test_help_needs_no_package(command: str, tmp_path: Path) -> None:
    """Whoever asks for help may not have installed anything yet. -S: no site-packages."""
    program = str(ROOT / "scripts" / "run_toolkit.py")
    result = run(sys.executable, "-I", "-S", program, command, "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "exit codes:" in result.stdout


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def commands_in(text: str, door: str) -> Iterator[str]:
    """Calls of a door in fences and code spans, with the lines that continue them."""
    for call in re.findall(rf"{re.escape(door)}\"?((?:[^\n`]|\n {{8,}})*)", text):
        yield call.partition("#")[0]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_flags_in_the_documents_are_real(door: str, document: str, tmp_path: Path) -> None:
    named = set().union(*(flags_in(call) for call in commands_in(read(document), door)))
    assert named <= flags_in(help_of(door, tmp_path).partition("exit codes:")[0])


def test_the_page_of_commands_says_what_help_says() -> None:
    """Flags, meanings and exit codes stand once, in the scripts (#16)."""
    written = read("references/commands.md")
    assert written == commands.page(), "run `make commands`"
    for code in Exit:
        assert f"| {code.value} | {code.meaning} |" in written
    assert len(re.findall(r"^\| `--", written, re.MULTILINE)) > 50


@pytest.mark.parametrize("door", DOORS)
def test_the_page_has_every_flag_of_a_door(door: str, tmp_path: Path) -> None:
    """Of what the door itself prints, so that nothing is left out on the way."""
    section = read("references/commands.md").partition(f"## {door}\n")[2].partition("\n## ")[0]
    offered = flags_in(help_of(door, tmp_path).partition("exit codes:")[0]) - {"--help"}
    assert len(offered) >= 4
    assert {name for name in offered if f"`{name}" not in section and name not in section} == set()


def test_contributing_names_every_variable_that_the_tests_read() -> None:
    servers = "".join(path.read_text() for path in (ROOT / "tests" / "servers").glob("*.py"))
    variables = set(
        re.findall(r"\b(?:TEST|REQUIRE)_[A-Z_]+\b", servers + read("tests/conftest.py"))
    )
    assert {"TEST_POSTGRES_URL", "TEST_MYSQL_URL", "REQUIRE_MYSQL"} <= variables
    assert [name for name in sorted(variables) if name not in read("CONTRIBUTING.md")] == []


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "AGENTS.md"])
def test_commands_in_the_documents_are_targets_of_the_makefile(document: str) -> None:
    called = set(re.findall(r"`make ([a-z-]+)", read(document)))
    assert "check" in called
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    assert called <= targets


def test_every_function_of_the_examples_is_called_by_name() -> None:
    """In its test, or by another one of the file; endpoints are called by their path."""
    examples = sorted((ROOT / "examples").glob("[a-z]*.py"))
    assert len(examples) >= 6
    for path in examples:
        source = path.read_text(encoding="utf-8")
        functions = {
            node.name
            for node in ast.parse(source).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.decorator_list
        }
        test = ROOT / "tests" / "examples" / f"test_{path.name}"
        called = set(re.findall(r"\w+", test.read_text(encoding="utf-8")))
        called |= set(re.findall(r"(?<!def )\b\w+", source))
        assert functions
        assert functions <= called, path.name


# The code in the documents


def fences(kind: str) -> list[tuple[str, str]]:
    return [
        (document, code)
        for document in DOCUMENTS
        for found, code in FENCE.findall(read(document))
        if found == kind
    ]


def test_bash_fences_parse() -> None:
    found = fences("bash")
    assert len(found) >= 4
    for document, code in found:
        # <...> stands for what the reader fills in; bash would redirect.
        filled = re.sub(r"<[^>]+>", "filled", code)
        result = subprocess.run(
            ["bash", "-n"], input=filled, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{document}: {result.stderr}"
        for line in filled.splitlines():
            shlex.split(line, comments=True)


# In a process of its own: a second copy of the template would hide rows of the first one's tests.
OVER_HTTP = """
import asyncio
import httpx
from sqlalchemy import func, select
from app import main

async def run():
    async with main.app.router.lifespan_context(main.app):
        manager = main.app.state.database
        async with manager.engine.begin() as connection:
            await connection.run_sync(main.Customer.metadata.create_all)
        transport = httpx.ASGITransport(main.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for _ in range(2):
                print((await client.post("/customers?email=ada@example.org")).status_code)
        async with manager.session() as session:
            print(await session.scalar(select(func.count()).select_from(main.Customer)))

asyncio.run(run())
"""


def test_the_python_of_the_skill_answers_over_http(
    tmp_path: Path, make_database: Callable[[str], str]
) -> None:
    """The one example, in the package that the scaffold would make."""
    found = [code for document, code in fences("python") if document == "SKILL.md"]
    package = tmp_path / "app" / "db"
    package.mkdir(parents=True)
    (tmp_path / "app" / "__init__.py").touch()
    (package / "__init__.py").touch()
    for name in ("base_model.py", "database_url.py", "database_engine.py", "session_manager.py"):
        shutil.copy(ROOT / "templates" / name, package)
    (tmp_path / "app" / "main.py").write_text(found[0], encoding="utf-8")
    environment = {"DATABASE_URL": make_database("sqlite"), "PATH": os.environ["PATH"]}
    with tempfile.NamedTemporaryFile() as log:
        arguments = ["-c", OVER_HTTP]
        _, output = warm.run(arguments, cwd=tmp_path, environment=environment, stderr=log)
        assert output.split() == ["201", "500", "1"], Path(log.name).read_text()


# What lands in somebody's project


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    forbidden = re.compile(
        "|".join(
            [
                r"(?<![\w.])/" + r"work/",
                r"/tmp/" + r"(dev|bash_jobs)",
                r"/(home|Users)/" + r"(?!USER\b)\w+/",
                r"py" + r"pi\.org",
                r"registry\." + r"npmjs",
                r"deb\." + r"debian",
                "BEGIN (RSA |EC )?PRIVATE " + "KEY",
            ]
        )
    )
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in project_files()
        for match in forbidden.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_nothing_that_installers_drop_or_refuse() -> None:
    files = project_files()
    assert [path for path in files if path.is_symlink()] == []
    assert [path for path in files if path.name == "metadata.json"] == []
    assert [path for path in files if path.stat().st_size == 0] == []
    conftests = [path.relative_to(ROOT).as_posix() for path in files if path.name == "conftest.py"]
    outside = [name for name in conftests if not name.startswith("tests/")]
    assert outside == ["templates/conftest.py"]


def test_shell_scripts_keep_their_line_ends() -> None:
    scripts = [path for path in project_files() if path.suffix == ".sh"]
    assert len(scripts) >= 3
    for path in scripts:
        name = path.relative_to(ROOT).as_posix()
        assert b"eol: lf" in git("check-attr", "eol", "--", name), name
        assert b"\r" not in path.read_bytes(), name


def install_everything(target: Path) -> None:
    for path in project_files():
        destination = target / path.relative_to(ROOT)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, destination)


def test_a_host_projects_linter_stays_green(tmp_path: Path) -> None:
    host = tmp_path / "host"
    (host / "app").mkdir(parents=True)
    (host / "app" / "main.py").write_text('"""The host."""\n\nprint("hello")\n')
    (host / "pyproject.toml").write_text('[tool.ruff.lint]\nselect = ["E", "F", "I", "D100"]\n')
    skill = host / ".claude" / "skills" / NAME
    install_everything(skill)
    for arguments in (["check"], ["format", "--check"]):
        result = run(sys.executable, "-m", "ruff", *arguments, "--no-cache", ".", cwd=host)
        assert result.returncode == 0, result.stdout + result.stderr

    # A linter that does not look into the skill would prove nothing.
    (skill / "scripts" / "bad.py").write_text("import os, sys\nx = undefined\n")
    assert run(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=host).returncode == 1


def test_frontmatter_reader_joins_folded_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = textwrap.dedent(
        """\
        ---
        name: x
        description: >-
          one
          two
        ---
        """
    )
    monkeypatch.setattr(sys.modules[__name__], "read", lambda _name: text)
    assert frontmatter() == {"name": "x", "description": "one two"}
