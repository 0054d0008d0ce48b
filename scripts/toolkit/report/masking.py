"""No password leaves this program: what is printed or written goes through `MASKER`.

It hides what it was told of (`learn...`), in every spelling in which a program may repeat it,
and what stands where passwords and values stand: in a URL, behind `password=`, in a driver's
error. The second needs no knowledge, so a password from a source that nobody thought of is
hidden there as well.

Imports the standard library only: import_worker.py, which runs without this toolkit on its
path, loads this file by its own.
"""

import functools
import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
SHORTEST = 3
"""What is shorter is hidden where a password stands, and nowhere else: one or two letters
are in any text, and to hide them there would show them."""
HALF = 4
"""The same for a half of one, where a raw @, / or : cut it."""
LIKE_A_WORD = 8
MIXED = 5
"""Fewer letters or digits alone, or fewer of mixed kinds, are hidden as whole words only."""
LARGEST_FILE = 256 * 1024

WORD = r"(?:password|passwd|passphrase|passcode|pwd|secret|secret_?key|token|api_?key|credentials?)"
NAME = rf"(?<!\w)(?i:\w*{WORD})\d*"
KEYS = r"(?:access|private|signing|encryption|auth|master|app|license)_?key"
SECRET_NAME = re.compile(rf"(?i)\w*(?:pass|{WORD}|{KEYS})\d*")
"""Names whose values are hidden: no `primary_key`, no `..._FILE`, and not the shell's `PWD`."""
NO_SECRET_NAME = re.compile(r"(?i)(?:old)?pwd")
NO_SECRET = re.compile(r"(?i)true|false|yes|no|on|off|none|null|\d{1,3}|\*+|")
# Passwords that are words of our own texts: where they stand alone they tell nobody anything,
# and a report without them could not be read. Where a password stands they are hidden, too.
ORDINARY = frozenset(
    re.findall(
        r"\w+",
        """password passwd secret token user username name admin root test tests local localhost
        host db database postgres postgresql mysql mariadb sqlite sqlalchemy alembic python server
        public main default development production""",
    )
)
# `sqlite:///a:b@c` is a path, and `host:5432/shop?x=a@b` has no login.
NO_LOGIN = re.compile(r"/|[^/:@]*:\d+/[^@]*\?")
SETTINGS_FILES = {".ini", ".cfg", ".toml", ".yaml", ".yml", ".env", ".conf"}
# What stands for a password in examples and templates is none.
PLACEHOLDER = r"(?:\*+|<[^<>\s]*>|\$?\{[^{}\s]*\}|%\(\w+\)s|%s|PASSWORD|password)"

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


class Masker:
    """Replaces what is secret by `***`."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._secrets: set[str] = set()
        self._pieces: set[str] = set()
        self._names: set[str] = set()
        self._spared: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    # What it learns

    def learn(self, url: str) -> None:
        """Note what may be a password in a URL or a DSN, also in one that is quoted wrongly."""
        scheme, found, body = url.partition("://")
        is_url = bool(found) and re.fullmatch(r"[\w+.-]+", scheme.strip()) is not None
        before_query = body.partition("?")[0]
        host = before_query.rpartition("@")[2].partition("/")[0] if is_url else ""
        for _, value in pairs_in(url):
            self._add_written(value, host)
        # Up to the last @: a raw one in the password makes the rest look like the host.
        for part in {body, before_query} if is_url and not NO_LOGIN.match(body) else ():
            login, _, place = part.rpartition("@")
            user, colon, password = login.partition(":")
            if not colon:
                continue
            host, _, database = place.partition("?")[0].partition("/")
            self._names |= {user, unquote(user), host, *host.split(":"), database}
            self._add_written(password, host)

    def _add_written(self, password: str, host: str) -> None:
        """A password as a URL has it, its halves, and what a raw @ makes of it."""
        for read in {password, unquote(password), unquote_plus(password)}:
            halves = re.split(r"[@/?#:]", read)
            self._add({read, *(half for half in halves if len(half) >= HALF)})
            # What is behind an unquoted @ is taken for a part of the host, however short.
            at = read.split("@")
            self._pieces |= {"@".join([*at[n:], host]) for n in range(1, len(at)) if host}

    def learn_password(self, password: str, names: Iterable[str | None] = ()) -> None:
        """`names` are user, host and database: what equals one of them is no news."""
        self._names |= {name for name in names if name}
        self._add({password, unquote(password)})

    def learn_variable(self, name: str, value: str) -> None:
        """A variable, setting or attribute and its value."""
        self.learn(value)
        if not SECRET_NAME.fullmatch(name) or NO_SECRET_NAME.fullmatch(name):
            return
        if "://" in value or NO_SECRET.fullmatch(value) or Path(value).is_absolute():
            return
        self._add({value})

    def learn_environment(self, variables: Mapping[str, str]) -> None:
        for name, value in variables.items():
            self.learn_variable(name, value)

    def learn_command(self, command: str) -> None:
        """`VAR=secret program --password=x`, as --run has it."""
        for name, value in re.findall(r"([A-Za-z_][\w-]*)=('[^']*'|\"[^\"]*\"|\S+)", command):
            self.learn_variable(name.replace("-", "_"), unquoted(value))
        for word in command.split():
            self.learn(unquoted(word))

    def learn_folder(self, folder: Path) -> None:
        """The settings files in it; and its own names, which are not hidden in paths."""
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            return
        self._spared |= {folder.name, *(entry.name.partition(".")[0] for entry in entries)}
        self._pattern = None
        for entry in entries:
            if entry.name.startswith(".env") or entry.suffix in SETTINGS_FILES:
                self.learn_settings(text_of(entry))

    def learn_settings(self, text: str) -> None:
        """Lines `NAME=value` and `name: value`, quoted or not."""
        for line in text.splitlines():
            found = SETTING.match(line) if len(line) <= LONGEST else None
            if not found:
                continue
            name, value = found.groups()
            # With and without what may be a comment: nobody knows which reader it has.
            for one in {value, unquoted(value), re.split(r"\s#", value)[0]}:
                for read in {one, one.replace("%%", "%"), unescaped(one), from_json(one)}:
                    self.learn_variable(name.rpartition(".")[2], read)

    def _add(self, secrets: Iterable[str]) -> None:
        self._secrets |= worth_hiding(secrets)
        self._pattern = None

    # What it hides

    def __call__(self, text: str, extra: Iterable[str] = ()) -> str:
        """`text` without secrets; `extra` are more than what was learned."""
        more = worth_hiding(extra)
        if self._pattern is None:
            self._pattern = self._compile(self._secrets)
        for pattern in (self._compile(more) if more else None, self._pattern):
            if pattern is not None:
                text = pattern.sub(HIDDEN, text)
        for rule, shown in RULES:
            text = rule.sub(shown, text)
        return text

    def data(self, value: Any) -> Any:  # noqa: ANN401
        """A document, masked before it is written as JSON: afterwards a cut could break it."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {
                key: HIDDEN
                if isinstance(one, str) and one and re.fullmatch(NAME, str(key))
                else self.data(one)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.data(one) for one in value]
        return value if isinstance(value, int | float | None) else self(str(value))

    def _compile(self, secrets: Iterable[str]) -> re.Pattern[str] | None:
        """One pattern for all spellings, the longest first."""
        names = {name.casefold() for name in self._names} | ORDINARY
        forms: dict[str, str] = {}
        for secret in secrets:
            if secret.casefold() not in names:
                for form in spellings(secret):
                    forms[form] = self._bounded(form, secret)
        for piece in self._pieces:
            forms[piece] = as_pattern(piece)
        if not forms:
            return None
        return re.compile("|".join(forms[one] for one in sorted(forms, key=len, reverse=True)))

    def _bounded(self, form: str, secret: str) -> str:
        found = as_pattern(form)
        if secret in self._spared:
            # "app" is the password, and app/models.py and app.models are the project's.
            return rf"(?<![\w/.\\-]){found}(?![\w/\\-]|\.\w|:\d)"
        is_plain = secret.isalpha() or secret.isdecimal()
        if len(secret) >= (LIKE_A_WORD if is_plain else MIXED):
            return found
        # `\napp` and `%20app` are the word, too.
        return rf"(?:(?<![^\W_])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{{2}})){found}(?![^\W_])"


MASKER = Masker()
"""This program's. The door (door.py) begins with one that knows nothing."""


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without passwords: those that are known, and `secrets`, in any quoting."""
    return MASKER(text, secrets)


def secrets_of(environment: Mapping[str, str], urls: Iterable[Any] = ()) -> set[str]:
    """Passwords that a program with this environment might print; `urls` are SQLAlchemy's."""
    made = Masker()
    made.learn_environment(environment)
    for url in urls:
        if url.password:
            made.learn_password(str(url.password))
    return made._secrets


# Spellings


@functools.lru_cache(maxsize=512)
def spellings(secret: str) -> frozenset[str]:
    """A secret as URLs, Python, JSON, ini files, SQL, HTML and shells write it, also one in
    another. Of letters and digits they are all the same.
    """
    in_urls = {quote(secret, safe=safe) for safe in ("", "/", " +", "!$&'()*+,;=:")}
    in_urls |= {quote_plus(secret), quote_plus(quote(secret, safe=""))}
    in_urls |= {re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), one) for one in in_urls}
    in_bytes = repr(secret.encode("utf-8", "surrogatepass"))[2:-1]
    found = {secret, in_bytes, unicodedata.normalize("NFC", secret), *in_urls}
    for _ in range(2):
        found |= {write(one) for one in found for write in WRITERS}
    return frozenset(found)


WRITERS: tuple[Callable[[str], str], ...] = (
    lambda text: repr(text)[1:-1],
    lambda text: ascii(text)[1:-1],
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    html.escape,
    lambda text: text.replace("%", "%%"),
    lambda text: text.replace("'", "''"),
    lambda text: text.replace('"', '""'),
    lambda text: text.replace("'", "\\'"),
    lambda text: text.replace("'", "'\"'\"'"),
    lambda text: clean(text),  # noqa: PLW0108  (it is defined below)
)


def as_pattern(form: str) -> str:
    """Blanks match any run of them: texts are wrapped."""
    words = [re.escape(word) for word in re.split(r"\s+", form)]
    return r"\s+".join(words)


# Places where a secret stands

SETTING = re.compile(r"[ \t-]*(?:export[ \t]+)?['\"]?([A-Za-z_][\w.]*)['\"]?[ \t]*[=:][ \t]*(\S.*)")
PAIR = re.compile(
    rf"({NAME})=('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^\s&;'\",)\]}}]+)",
)
DATABASES = r"(?:postgres(?:ql)?|mysql|mariadb|sqlite|mssql|oracle|redis|mongodb|amqp)s?(?:\+\w+)?"
STRING = r"(?:\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|''|[^'\\\n])*')"
PORT = r"\d+(?:[/?\s'\",).:;\]]|$)"
LONGEST = 5000
"""Characters of a value that is looked for. Every rule has a limit: texts of strangers come here,
and none may take longer than its length is worth."""


def pairs_in(text: str) -> list[tuple[str, str]]:
    """`password=x` in a query or a DSN."""
    found = PAIR.findall(text)
    return [(name, read) for name, value in found for read in {unquoted(value), unescaped(value)}]


def hide_pair(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    # `password=password` and `token=settings.token` are code.
    reference = value.rpartition(".")[2].lower() == name.lower()
    if reference or re.fullmatch(rf"None|True|False|{PLACEHOLDER}", value):
        return found[0]
    mark = value[0] if value[0] in "'\"" else ""
    return f"{name}={mark}{HIDDEN}{mark}"


def hide_string(found: re.Match[str]) -> str:
    """`name = "x"`, however it is annotated and wrapped."""
    value = found[2]
    if re.fullmatch(rf"{PLACEHOLDER}|", value[1:-1]):
        return found[0]
    return f"{found[1]}{value[0]}{HIDDEN}{value[0]}"


def hide_literals(found: re.Match[str]) -> str:
    """A piece of a statement, into which some drivers write the values."""
    return found[1] + re.sub(r"'(?:''|\\.|[^'\\])*'(?!\w)", f"'{HIDDEN}'", found[2]) + found[3]


def rules(*pairs: tuple[str, str | Callable[[re.Match[str]], str]]) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern), shown) for pattern, shown in pairs)


PASSWORDS = rules(
    # pydantic repeats what it was given.
    (rf"(?s)input_value=.{{0,{LONGEST}}}?(?=, input_type=)", f"input_value={HIDDEN}"),
    # `://user:secret@host`, with a password that may hold a raw `@`; in a database's URL also
    # blanks and quotes; and the same cut off before the `@`, as errors show long values.
    # `host:5432` stays.
    (rf"(://[^\s:/@'\"]*:)(?!{PLACEHOLDER}@)[^\s'\"]{{0,500}}@", rf"\1{HIDDEN}@"),
    (
        rf"(\b{DATABASES}://[^\s:/@'\"]*:)(?!{PLACEHOLDER}@|{PORT})[^@\n]{{1,200}}@",
        rf"\1{HIDDEN}@",
    ),
    (rf"(://[^\s:/@'\"]+:)(?!{PLACEHOLDER})(?!{PORT})[^\s@'\"]+", rf"\1{HIDDEN}"),
    (PAIR.pattern, hide_pair),
    (
        rf"({NAME}[\"']?\s{{0,9}}(?::\s{{0,9}}[\w\[\].| ]{{1,60}}?)?(?:=|:|=>)\s{{0,9}}"
        rf"(?:(?:[\w.]*Secret\w*|quote|quote_plus|Field)\((?:default=)?)?[rbuRBU]{{0,2}})({STRING})",
        hide_string,
    ),
    (rf"({NAME}\\[\"']:\s{{0,9}})\\([\"']).{{0,500}}?\\\2", rf"\1\\\2{HIDDEN}\\\2"),
    (
        r"((?i:\bPASSWORD\s*\(?\s*|\bIDENTIFIED\s+(?:(?:WITH|VIA)\s+\S+\s+)?(?:BY|AS|USING)"
        r"\s+(?:PASSWORD\s*\(?\s*)?))'(?:''|\\.|[^'\\])*'",
        rf"\1'{HIDDEN}'",
    ),
)
SQLALCHEMY = rules((r"\[parameters: .*", f"[parameters: {HIDDEN}]"))
POSTGRESQL = rules(
    (
        rf"(Key \([^\n]{{0,300}}?\)=)\([\s\S]{{0,{LONGEST}}}?\)"
        r"(?= (?:already exists|is not present|is still referenced|conflicts|is duplicated))",
        rf"\1({HIDDEN})",
    ),
    # The same in another language.
    (r"(\([^()\n]{0,300}\)=)\((?!\*\*\*\))[^\n]*\)", rf"\1({HIDDEN})"),
    # A value may have line ends, of which nothing says which is the last: up to SQLAlchemy's
    # own lines.
    (
        rf"(Failing row contains )\((?!\*\*\*\))[\s\S]{{0,{LONGEST}}}?\)(?=\.?(?:\n\[|\n\(B|\W*$))",
        rf"\1({HIDDEN})",
    ),
    (r"(Failing row contains )\((?!\*\*\*\))[^\n]*", rf"\1({HIDDEN})"),
    (
        r"((?:invalid (?:input syntax|input value)[^\n:\"]{0,80}|out of range): )"
        r"\"[^\n]*\"",
        rf'\1"{HIDDEN}"',
    ),
    (r"(\bvalue )\"[^\n]{0,999}\"(?= is out of range)", rf'\1"{HIDDEN}"'),
    (
        r"(invalid input for query argument \$\d+[^:\n]{0,80}: )(?:[^\n]*(?= \([^()\n]*\))|[^\n]*)",
        rf"\1{HIDDEN}",
    ),
    (
        r"(\bCOPY [^\n:]{1,200}, line \d+[^\n:]{0,200}: |\bparameter \$\d+ = "
        r"|JSON data, line \d+: )[^\n]*",
        rf"\1{HIDDEN}",
    ),
    (r"(\bLINE \d+: )([^\n]{0,999})()", hide_literals),
)
MYSQL = rules(
    (r"(Duplicate entry )'[^\n]{0,999}'(?= for key)", rf"\1'{HIDDEN}'"),
    (
        rf"(Duplicate entry )'(?!\*\*\*')[\s\S]{{0,{LONGEST}}}?'(?= for key)",
        rf"\1'{HIDDEN}'",
    ),
    (
        r"((?:[Ii]ncorrect|Invalid) [\w ]{0,60}value: )'[^\n]{0,999}?'"
        r"(?= for |\W{0,9}$|\W{0,9}\n|\")",
        rf"\1'{HIDDEN}'",
    ),
    (r"(near ')([^\n]{0,999})(' at line \d+)", hide_literals),
)
RULES = (*PASSWORDS, *SQLALCHEMY, *POSTGRESQL, *MYSQL)


# Small things


def worth_hiding(secrets: Iterable[str]) -> set[str]:
    found = {form for one in secrets for form in (one, one.strip())}
    return {one for one in found if len(one) >= SHORTEST and one.strip("*")}


def unquoted(text: str) -> str:
    """Without the quotes around it, and what follows them."""
    text = text.strip()
    if text[:1] in {"'", '"'} and (end := text.rfind(text[0])) > 0:
        return text[1:end]
    return text


def unescaped(text: str) -> str:
    """As dotenv, TOML and YAML read a string in double quotes."""
    return re.sub(r"\\(.)", r"\1", unquoted(text))


def from_json(text: str) -> str:
    try:
        return str(json.loads(text.strip()))
    except ValueError:
        return text


def text_of(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def clean(text: str) -> str:
    """`text` with control and direction characters written out.

    Names, messages and statements come from databases, files and requests: they must neither
    steer a terminal nor reorder a line, and lone surrogates cannot be written as UTF-8.
    """
    return "".join(
        one if one in "\n\t" or unicodedata.category(one) not in UNSAFE else written_out(one)
        for one in text.replace("\r\n", "\n")
    )


def in_a_line(text: str) -> str:
    """The same for what has to stay one line: a name with a line end could forge a second."""
    return clean(text).replace("\n", "\\n").replace("\t", "\\t")


def written_out(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
