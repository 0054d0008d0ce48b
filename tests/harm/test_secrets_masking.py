"""No spelling of a password gets through the one module that hides them (#11)."""

import html
import json
import re
import shlex
import textwrap
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from sqlalchemy.engine import URL

from toolkit.project import imports, passwords
from toolkit.report import door, masking
from toolkit.report.masking import Masker, mask

pytestmark = pytest.mark.any_sqlalchemy

PASSWORDS = (
    "hunter2",
    "correct horse battery",
    " leading and trailing ",
    "qu'ote",
    'dou"ble',
    "bo'th\"kinds",
    "back\\slash",
    "new\\nline",
    "per%cent",
    "100%%sure",
    "p@ssw0rd",
    "a@b@c@d.e",
    "sl/ash/es",
    "dot.dot.dot",
    "col:on:s",
    "ques?tion",
    "ha#sh",
    "amp&er=sand",
    "pl+us sign",
    "br[ack]ets{}",
    "$(touch x)`y`",
    "ünïcödé-ß",
    "пароль-密码",
    "semi;colon,comma",
    "<b>markup</b>",
    "ends.",
    "ends/",
    "xyz",
    "0000042",
    "tab\tbed",
    "\u202erights",
)  # fmt: skip
OTHER = ("127.0.0.1", "shop", "order")


def urls(password: str) -> list[str]:
    """A URL as people and programs write it, rightly or not."""
    return [
        f"postgresql+asyncpg://app:{password}@db.internal:5432/shop",
        f"postgresql+asyncpg://app:{quote(password, safe='')}@db.internal:5432/shop",
        f"mysql+aiomysql://app:{quote_plus(password)}@db.internal/shop",
        f"postgresql://db.internal/shop?user=app&password={quote(password, safe='')}",
        f"postgresql://app@db.internal/shop?sslpassword={quote_plus(password)}",
        URL.create("postgresql", "app", password, "db.internal", database="shop")
        .render_as_string(hide_password=False),
        "host=db.internal user=app dbname=shop password="
        + "'" + password.replace("\\", "\\\\").replace("'", "\\'") + "'",
    ]  # fmt: skip


SAYINGS: dict[str, Callable[[str], str]] = {
    "alone": lambda word: word,
    "before a dot": lambda word: f"cannot log in with {word}. Look again",
    "before a slash": lambda word: f"no host {word}/shop",
    "repr": repr,
    "repr of an error": lambda word: repr(ValueError(f"bad {word}")),
    "repr of a repr": lambda word: repr(repr(word)),
    "ascii": ascii,
    "bytes": lambda word: repr(word.encode()),
    "JSON": json.dumps,
    "JSON in UTF-8": lambda word: json.dumps(word, ensure_ascii=False),
    "percent": lambda word: quote(word, safe=""),
    "percent in small letters": lambda word: quote(word, safe="").lower(),
    "plus": quote_plus,
    "ini": lambda word: f"sqlalchemy.url = postgresql://app:{quote(word).replace('%', '%%')}@h/x",
    "HTML": html.escape,
    "SQL": lambda word: "ALTER ROLE app PASSWORD '" + word.replace("'", "''") + "'",
    "shell": shlex.quote,
    "wrapped": lambda word: textwrap.fill(
        f"{'x ' * 40}the password {word} is wrong",
        40,
        break_long_words=False,
        break_on_hyphens=False,
    ),
    "as a host": lambda word: f"could not translate host name {word.partition('@')[2]}@db.internal",
    "in a query": lambda word: f"postgresql://h/x?password={word}&sslmode=require",
    "keyword": lambda word: f"connect(user='app', password={word!r})",
    "mapping": lambda word: str({"user": "app", "password": word}),
    "annotated": lambda word: f"    db_password: SecretStr = SecretStr({word!r})",
    "diff": lambda word: f"-    url = {'postgresql://app:' + word + '@h/x'!r}",
}  # fmt: skip


def words_of(password: str) -> set[str]:
    """What of it nobody may read: all of it, and each half that says something."""
    halves = {password.strip(), quote(password, safe=""), quote_plus(password)}
    halves |= {half for half in password.split("@") if len(half) > 3}
    return {one for one in halves if len(one) > 2}


@pytest.mark.parametrize("password", PASSWORDS)
def test_every_spelling_in_every_saying(password: str) -> None:
    for url in urls(password):
        masker = Masker()
        masker.learn(url)
        for name, say in SAYINGS.items():
            shown = masker(say(password) + "\n" + say(url))
            left = [word for word in words_of(password) if word in shown]
            assert not left, (url, name, shown)


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "form", ["bare", "comment", "single", "double", "export", "toml", "yaml", "ini"]
)
def test_a_settings_file_tells_it(password: str, form: str, tmp_path: Path) -> None:
    plain = password.strip()
    url = f"postgresql://app:{quote(password, safe='')}@db.internal/shop"
    doubled = plain.replace("\\", "\\\\").replace('"', '\\"')
    name, text = {
        "bare": (".env", f"DB_PASSWORD={plain}\n"),
        "comment": (".env", f"DB_PASSWORD={plain} # ours\n"),
        "single": (".env.local", f"DB_PASSWORD='{plain}'  # ours\n"),
        "double": (".env", f'DB_PASSWORD="{doubled}"\n'),
        "export": (".env", f"export DATABASE_URL={url}\n"),
        "toml": ("settings.toml", f'password = "{doubled}"\n'),
        "yaml": ("compose.yaml", f"  environment:\n    POSTGRES_PASSWORD: {json.dumps(plain)}\n"),
        "ini": ("alembic.ini", f"[alembic]\nsqlalchemy.url = {url.replace('%', '%%')}\n"),
    }[form]
    (tmp_path / name).write_text(text, encoding="utf-8")
    masker = Masker()
    masker.learn_folder(tmp_path)
    assert plain not in masker(f"it said: {plain}. And {plain!r}/x")


@pytest.mark.parametrize("password", PASSWORDS)
def test_what_is_json_before_is_json_afterwards(password: str) -> None:
    masker = Masker()
    masker.learn(f"postgresql://app:{quote(password, safe='')}@h/x")
    document = {"message": f"\n{password}\n", "list": [password, {"deep": f"\\{password}"}], "n": 1}
    read = json.loads(json.dumps(masker.data(document)))
    assert read["message"] == "\n***\n" or password.strip() not in read["message"]
    assert password not in json.dumps(read, ensure_ascii=False)
    assert read["n"] == 1
    assert masker.data({"db_password": "not learned", "password": ""}) == {
        "db_password": "***",
        "password": "",
    }


@pytest.mark.parametrize("value", ["x@y.org", "it's x@y.org", "x@y.org, (2)", "x@y.org: 'a' \"b\""])
@pytest.mark.parametrize(
    "text",
    [
        "[parameters: {}]",
        "[parameters: {}]\n(Background on this error at: https://sqlalche.me/e/20/gkpj)",
        "DETAIL:  Key (email)=({}) already exists.",
        "Key (a, b)=({}) is not present in table",
        "Key (lower(email))=({}) is still referenced from table",
        "Schluessel (email)=({}) existiert bereits",
        "Failing row contains ({}).\n[SQL: INSERT INTO users (email) VALUES ($1)]",
        'invalid input syntax for type uuid: "{}"',
        'invalid input value for enum mood: "{}"',
        'value "{}" is out of range for type integer',
        "invalid input for query argument $1: {} (an integer is required)",
        "COPY users, line 3, column email: {}",
        "(1062, \"Duplicate entry '{}' for key 'users.email'\")",
        "Incorrect integer value: '{}' for column `a` at row 1",
        "Truncated incorrect DOUBLE value: '{}'",
    ],
)
def test_values_in_the_errors_of_three_databases(text: str, value: str) -> None:
    shown = mask(text.format(value))
    assert shown == text.format("***")
    assert mask(shown) == shown


def test_values_over_several_lines() -> None:
    for text in (
        "Key (email)=(x@\ny.org) already exists.",
        "Failing row contains (1, x@\ny.org).\n[SQL: INSERT",
        "Duplicate entry 'x@\ny.org' for key 'email'",
    ):
        assert "y.org" not in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "right syntax to use near 'WHER email = '{}'' at line 1",
        "LINE 1: SELECT '{}' FORM users",
        "CREATE ROLE app LOGIN PASSWORD '{}'",
        "CREATE USER app IDENTIFIED BY '{}'",
        "ALTER USER app IDENTIFIED VIA mysql_native_password USING PASSWORD('{}')",
    ],
)
def test_values_that_stand_in_a_statement(text: str) -> None:
    assert mask(text.format("x@y.org")) == text.format("***")


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:8000/docs, (127.0.0.1:5432) and postgresql://localhost:5432/shop",
        "def hash_password(password: str) -> str:",
        "    password_hash: Mapped[str] = mapped_column(String(200))",
        "connect(password=password, token=settings.token)",
        'f"postgresql://{user}:{password}@{host}/{name}"',
        "scheme://user:password@host:port/database",
        'OAuth2PasswordBearer(tokenUrl="token")',
        "app/models.py:12 class User (app.models)",
        "the user or the password is wrong; pg_hba.conf wants a password",
        "role postgres of PostgreSQL on db",
        "--connect-arg password_encryption=scram",
    ],
)
def test_what_is_no_secret_stays_readable(text: str, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    masker = Masker()
    masker.learn_folder(tmp_path)
    for password in ("app", "postgres", "password", "db"):
        masker.learn(f"postgresql://me:{password}@somewhere/else")
    assert masker(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "0",
        "_",
        " ",
        "'",
        "''",
        '"',
        "(",
        "()=(",
        "\\",
        "://a:",
        "postgresql://a:",
        "password",
        "password=",
        "password ",
        "password: ",
        "Key (",
        "input_value=",
        "Failing row contains (",
        'value "',
        "near '",
        "LINE 1: '",
        "Duplicate entry '",
        "Incorrect x value: '",
        "PASSWORD '",
        "invalid input syntax",
        'out of range: "',
        "invalid input for query argument $1",
        "COPY a",
    ],
)
def test_no_text_takes_longer_than_it_is_worth(piece: str) -> None:
    """Ends: a rule that looks again from each place would take hours."""
    masker = Masker()
    masker.learn("postgresql://app:a%20b%27c@h/d")
    masker(piece * (100_000 // len(piece)))
    masker.learn_settings("password = " + piece * 9_000)


def test_a_piece_of_a_password_is_cut_out_of_no_word() -> None:
    masker = Masker()
    masker.learn("postgresql://app:s3cr:t p@ss/w%rd@h/d")
    assert masker("is not permitted; across wird") == "is not permitted; across wird"
    assert masker("'s3cr', w%rd") == "'***', ***"


def test_a_port_is_no_password() -> None:
    masker = Masker()
    masker.learn("postgresql://db:5432/shop?options=a@b&sslmode=require")
    masker.learn("sqlite:////data/a:5432@c.db")
    assert masker("port 5432, require") == "port 5432, require"


def test_what_is_named_as_host_or_user_is_no_news() -> None:
    masker = Masker()
    masker.learn("postgresql://me:warehouse@warehouse:5432/shop")
    masker.learn_password("clerk-of-it", ["clerk-of-it", None])
    assert masker("warehouse, clerk-of-it") == "warehouse, clerk-of-it"


def test_a_short_password_is_hidden_where_a_password_stands() -> None:
    masker = Masker()
    masker.learn("postgresql://app:x1@h/d")
    said = "postgresql://app:x1@h/d password=x1 {'password': 'x1'} x1@h max1 x100"
    shown = masker(said)
    assert shown.count("***") == 4
    assert shown.endswith("max1 x100")


def test_the_environment_tells_secrets_and_not_the_folder() -> None:
    masker = Masker()
    masker.learn_environment(
        {
            "PWD": "/srv/me/shop", "SSL_KEY_FILE": "/etc/key", "TOKENIZERS_PARALLELISM": "false",
            "SESSION_SECRET": "falsehood-7", "STRIPE_API_KEY": "sk_live_1", "EMPTY_PASSWORD": "",
            "PRIMARY_KEY": "id-of-it", "APP_SECRET": "vault://h/x",
            "BROKER": "amqp://me:br0ker@q/", "DEBUG_TOKEN": "true",
        }
    )  # fmt: skip
    said = "/srv/me/shop /etc/key false true id-of-it vault://h/x falsehood-7 sk_live_1 br0ker"
    assert masker(said) == "/srv/me/shop /etc/key false true id-of-it vault://h/x *** *** ***"


def test_the_source_tells_secrets_and_no_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MASKER", masker := Masker())
    (tmp_path / "models.py").write_text(
        'password: Mapped[str] = mapped_column("pwd_column")\n'
        'team = Field(foreign_key="teams.id")\n'
        'db_password: SecretStr = SecretStr("secret-1x")\n'
        'class S:\n    api_key = Field(default="secret-2x")\n'
        'connect(password="secret-3x", host="db-host")\n'
        'URL = "postgresql://app:secret-4x@db-host/shop"\n',
        encoding="utf-8",
    )
    passwords.learn_passwords([tmp_path], [imports.parse(tmp_path / "models.py", "models")])
    said = "pwd_column teams.id db-host"
    assert masker(said) == said
    assert masker("secret-1x secret-2x secret-3x secret-4x") == "*** *** *** ***"


def test_a_door_hides_what_comes_in_pieces_and_escapes_what_steers_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "correct horse")
    run = "TOKEN=run-secret pytest --api-key=its-key redis://me:its-url@h"
    there = tmp_path / "there"
    there.mkdir()
    (there / ".env").write_text("TOKEN=its-file")
    words = [f"--project={there}", "--run", run, "--fill", "a.password=md5('x')", "a://b:c-d@h"]
    with door.opened(words):
        print("md5('x')")
        print("correct", "horse", "and", "run-secret", "its-key", "its-url", "its-file", "c-d")
        print("\x1b[31mred\x1b[0m \u202egnp.exe\r\n\x07over\rbell")
        door.put_json({"deep": ["correct horse", "\x1b[2J"]})
    said = capsys.readouterr().out
    assert said.splitlines()[:2] == ["md5('x')", "*** and *** *** *** *** ***"]
    assert not {"\x1b", "\u202e", "\x07"} & set(said)
    assert "\r" not in said.replace("\r\n", "\n")
    assert "\\x1b[31mred" in said
    assert json.loads(said.partition("bell\n")[2]) == {"deep": ["***", "\x1b[2J"]}
    assert masking.MASKER("correct horse") == "***"


def test_nobody_goes_round_the_door() -> None:
    """Documents are masked before they are JSON; a stream behind the door is for the bar only."""
    toolkit = Path(masking.__file__).parents[1]
    # A pipe; a terminal; the door; one fixed sentence, when nothing else can be waited for.
    workers = {"private_server.py", "progress.py", "door.py", "interrupt.py"}
    round_it = re.compile(r"print\(json|sys\.__std|stdout\.buffer|stderr\.buffer|os\.write\([12],")
    found = [
        str(path)
        for path in toolkit.rglob("*.py")
        if path.name not in workers
        and "worker" not in str(path.relative_to(toolkit))
        and round_it.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
