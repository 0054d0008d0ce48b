"""The settings with which a project reaches a scratch database, as a person would give them.

From its own example (`.env.example`), with the database's address put in; else by the usual names.
What neither does is said in a file beside the checkout or in `recipes`, `NAME.env`:

    # database: mysql
    # from: backend
    # python: python3.12
    # ini: alembic.ini
    # needs: psycopg2-binary
    # replace app/settings.toml: host = "db" => host = "{host}"
    # right: test-connection (at the head) 29 its pool has 200 connections, the server 100
    SECRET_KEY=of-no-importance
    DB_DSN=mysql+aiomysql://{user}:{password}@{host}:{port}/{database}
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from projects.abroad.checkout import SetUp
from projects.abroad.servers import Database

EXAMPLES = (".env.example", ".env.sample", ".env.dist", ".env.template", "env.example",
            ".env-example", ".env.local.example", "example.env", ".example.env", ".env.dev.example",
            ".env_example", ".env-sample", ".env.tmpl", "sample.env", ".env",
            ".env.dev")  # fmt: skip
URL = re.compile(r"\b(postgres(?:ql)?|mysql|mariadb)(\+\w+)?://[^\s\"'#]*")
PARTS = (
    ("user", r"USER(NAME)?$"),
    ("password", r"(PASS|PASSWORD|PASSWD|PWD)$"),
    ("host", r"(HOST|HOSTNAME|SERVER|ADDRESS)$"),
    ("port", r"PORT$"),
    ("database", r"(DB|NAME|DATABASE|DBNAME|SCHEMA)$"),
)
NAMES_A_URL = r"(?i)^(DATABASE|DB|SQLALCHEMY|POSTGRES|PG|MYSQL)_?\w*(URL|URI|DSN)$"
OF_A_DATABASE = (
    r"(?i)^(?!.*(REDIS|MONGO|MAIL|TEST))(.*_)?"
    r"(POSTGRES|POSTGRESQL|PG|DB|DATABASE|MYSQL|MARIADB|SQL|SQLALCHEMY)"
)


@dataclass
class Recipe:
    """What the file beside the checkout says."""

    database: str = ""
    """postgresql, mysql, sqlite; empty: what the source looks like."""
    runs_from: str = ""
    python: str = ""
    ini: str = ""
    """The only set-up that is tried, where others are none."""
    more: list[str] = field(default_factory=list)
    """Requirements that the project has and does not name."""
    rights: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Script -> the right exit code, and why, as a maintainer found who looked."""
    replacements: list[tuple[str, str, str]] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    def means(self, set_up: SetUp, folder: Path) -> bool:
        return not self.ini or set_up.ini.relative_to(folder).as_posix() == self.ini

    def expected(self, script: str) -> tuple[int, str] | None:
        return self.rights.get(script)


def read_recipe(checkout: Path) -> Recipe:
    recipe, file = Recipe(), checkout.with_name(f"{checkout.name}.env")
    if not file.is_file():
        file = Path(__file__).with_name("recipes") / file.name
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        if found := re.match(r"# database: (\w+)", line):
            recipe.database = found[1]
        elif found := re.match(r"# from: (.+)", line):
            recipe.runs_from = found[1]
        elif found := re.match(r"# python: (.+)", line):
            recipe.python = found[1]
        elif found := re.match(r"# ini: (.+)", line):
            recipe.ini = found[1]
        elif found := re.match(r"# needs: (.+)", line):
            recipe.more.append(found[1])
        elif found := re.match(r"# right: (.+?) (\d+) (.+)", line):
            recipe.rights[found[1]] = int(found[2]), found[3]
        elif found := re.match(r"# replace (\S+): (.*) => (.*)", line):
            recipe.replacements.append((found[1], found[2], found[3]))
        elif not line.startswith("#") and "=" in line:
            name, _, value = line.partition("=")
            recipe.values[name] = value
    return recipe


def kind_of(folder: Path) -> str:
    """Which database this project is for: the one that its settings and sources name most."""
    named = {"postgresql": 0, "mysql": 0, "sqlite": 0}
    for path in folder.rglob("*"):
        example = path.name in EXAMPLES or path.suffix in {".ini", ".toml", ".py"}
        if path.is_file() and example and ".git" not in path.parts:
            text = path.read_text(encoding="utf-8", errors="replace")
            named["postgresql"] += len(re.findall(r"postgres(?:ql)?(?:\+\w+)?://|asyncpg", text))
            named["mysql"] += len(re.findall(r"mysql(?:\+\w+)?://|aiomysql|asyncmy", text))
            named["sqlite"] += len(re.findall(r"sqlite(?:\+\w+)?://", text))
    return max(named, key=lambda name: named[name]) if any(named.values()) else "postgresql"


def put_in(folder: Path, recipe: Recipe, database: Database) -> dict[str, str]:
    """Write the project's `.env` from its example, and make the replacements; returned are the
    variables for its processes.
    """
    for name, old, new in recipe.replacements:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, database.fill(new)), encoding="utf-8")
    said: dict[str, str] = {}
    for example in _examples(folder):
        is_example = re.search(r"(?i)example|sample|dist|template|tmpl", example.name)
        target = example.with_name(".env") if is_example else example
        if not (is_example and target.exists()):
            text = _with_address(example, database, recipe.values)
            target.write_text(text, encoding="utf-8")
            said |= {name: value for name, value in _lines(text) if value and name not in said}
    given = {name: database.fill(value) for name, value in recipe.values.items()}
    given = {name: value.replace("{folder}", str(folder)) for name, value in given.items()}
    return _usual(database) | said | given


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Name and value of each, as a shell or docker compose would export it."""
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        name = name.strip().removeprefix("export ").strip()
        if equals and re.fullmatch(r"[A-Za-z_]\w*", name) and not name.startswith("UV_"):
            quoted = re.match(r"""\s*(["'])(.*?)\1""", value)
            yield name, quoted[2] if quoted else re.sub(r"\s+#.*", "", value).strip()


def _examples(folder: Path) -> list[Path]:
    return [
        path
        for name in EXAMPLES
        for path in sorted(folder.rglob(name))
        if path.is_file() and "node_modules" not in path.parts and ".git" not in path.parts
    ]


def _with_address(example: Path, database: Database, values: dict[str, str]) -> str:
    lines = []
    for line in example.read_text(encoding="utf-8", errors="replace").splitlines():
        name, equals, value = line.partition("=")
        if not equals or line.lstrip().startswith("#"):
            lines.append(line)
            continue
        key = name.strip().removeprefix("export ")
        if key in values:
            value = database.fill(values[key])
        elif database.is_server and URL.search(value):
            value = URL.sub(lambda found: database.url(found[1] + (found[2] or "")), value)
        elif re.search(NAMES_A_URL, key) and not value.strip():
            value = database.url(database.asynchronous)
        elif database.is_server and re.search(OF_A_DATABASE, key):
            for part, ending in PARTS:
                if re.search(ending, key.upper()):
                    value = getattr(database, part)
                    break
        lines.append(f"{name}={value}")
    return "\n".join(lines) + "\n"


def _usual(database: Database) -> dict[str, str]:
    """By the names that most projects use."""
    if not database.is_server:
        return {"DATABASE_URL": database.url("sqlite+aiosqlite")}
    found = {"DATABASE_URL": database.url(database.asynchronous)}
    for before in ("POSTGRES_", "DB_", "DATABASE_", "MYSQL_", "PG"):
        found |= {
            f"{before}USER": database.user,
            f"{before}PASSWORD": database.password,
            f"{before}HOST": database.host,
            f"{before}SERVER": database.host,
            f"{before}PORT": database.port,
            f"{before}DB": database.database,
            f"{before}NAME": database.database,
            f"{before}DATABASE": database.database,
        }
    return found
