"""Texts and variables without the addresses and passwords of databases.

What takes their place keeps the form, so that settings which are validated still load: a
host that refuses at once, a password that is none, a file of ours.
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote, unquote_plus

# A multicast address (RFC 2365): no TCP connection is ever made to one, the kernel says
# so at once and asks nobody, and it passes wherever a host is validated.
NOWHERE = "239.255.77.77"
NO_PASSWORD = "hiddenfromunreadcode"  # noqa: S105
LOOPBACK = re.compile(r"^(?:localhost|127\.[\d.]+|0\.0\.0\.0|\[?::1?\]?|)$", re.IGNORECASE)

_SCHEME = (
    r"(?:jdbc:)?(?:postgres(?:ql)?|postgis|pgsql|psql|timescale(?:db)?|mysql2?|mysqlx|mariadb"
    r"|sqlite3?|cockroach(?:db)?|crdb|redshift|mssql|sqlserver|oracle|db2|snowflake|clickhouse"
    r"|mongodb|rediss?|valkeys?|cassandra|neo4j|bolt)(?:\+[\w.-]+)?"
)
_WHOLE = re.compile(rf"(\s*['\"]?)({_SCHEME})://(.*?)(['\"]?\s*)", re.IGNORECASE | re.DOTALL)
_INSIDE = re.compile(rf"(?<![\w+.:-])({_SCHEME})://([^\s'\"<>`|{{}}\\,;]*)", re.IGNORECASE)
_HOSTS = r"host|hostaddr|server|data source|service"
_PAIR = r"(?i)(?<![\w-])({names})(\s*=\s*)('(?:[^'\\]|\\.)*'|\"[^\"]*\"|[^\s;&]*)"
_KEYWORD = re.compile(_PAIR.format(names=_HOSTS + r"|password|passwd|pwd|sslpassword"))
_PAIRS = re.compile(rf"(?i)(?<![\w-])(?:{_HOSTS}|dbname|database)\s*=")
_IN_QUERY = re.compile(
    r"(?i)(?<![^&])(host|hostaddr|unix_socket|socket|service|servicefile|passfile|read_default_file"
    r"|read_default_group|option_files|password|passwd|pwd|sslpassword)=([^&]*)"
)
_ENV_LINE = re.compile(r"^(\s*(?:export\s+)?)([A-Za-z_]\w*)([ \t]*=[ \t]*)(.*)$", re.MULTILINE)

_OF_A_DATABASE = re.compile(
    r"^(?:DB|DATABASES?|POSTGRES(?:QL)?|PG|PSQL|PGSQL|PGBOUNCER|MYSQL|MARIADB|SQL|SQLALCHEMY"
    r"|RDS|AURORA|CLOUDSQL|MSSQL|SQLSERVER|ORACLE|TIMESCALE(?:DB)?|REDIS|MONGO(?:DB)?)\d*$"
)
_HOST = r"HOST|HOSTNAME|HOSTADDR|SERVER|ADDR|ADDRESS|ENDPOINT|SOCKET"
_PASSWORD = r"PASSWORD|PASSWD|PASS|PWD|PW"  # noqa: S105
_GLUED = re.compile(rf"^(?:PG|DB|MYSQL|MARIADB|POSTGRES|DATABASE)(?:({_HOST})|({_PASSWORD}))$")
_WHICH = re.compile(r"^(?:\d*|RO|RW|READER|WRITER|PRIMARY|REPLICA|MAIN|DEV|PROD|STAGING)$")
_NO_ANSWER = re.compile(r"(?i)^(?:true|false|yes|no|on|off|none|null|)$")
_MAY_BE_HOST = re.compile(r"(?i)host|server|addr|endpoint|node|primary|replica|reader|writer")
_MAY_BE_SECRET = re.compile(r"(?i)pass|pwd|pw(?:_|\d|$)|secret|cred|token|key")


class Hiding:
    """Hides addresses; `passwords_only` leaves where a database is, and takes the way in.

    `passwords` maps what was put in a password's place to the password itself.
    """

    def __init__(self, sqlite: str, *, passwords_only: bool = False) -> None:
        self.sqlite = sqlite
        self.passwords_only = passwords_only
        self.passwords: dict[str, str] = {}
        self.hosts: set[str] = set()

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables, each with what it held of databases hidden."""
        hidden = {name: self.variable(name, value) for name, value in variables.items()}
        # The same again under a name that does not say that it is a database's. A password may
        # be the user's name as well, so the name has to say something.
        for name, value in hidden.items():
            if value in self.hosts and not LOOPBACK.match(value) and _MAY_BE_HOST.search(name):
                hidden[name] = NOWHERE
            elif value in self.passwords.values() and _MAY_BE_SECRET.search(name):
                hidden[name] = self.password(value)
        return hidden

    def variable(self, name: str, value: str) -> str:
        found = self.text(value)
        if found != value:
            return found
        kind = part(name)
        if not kind or _NO_ANSWER.match(value):
            return value
        if kind == "password":
            return self.password(value)
        return self.host(value)

    def text(self, text: str) -> str:
        """With every URL and connection string in it hidden."""
        if "://" in text:
            whole = _WHOLE.fullmatch(text)
            if whole and text.count("://") == 1:
                before, scheme, rest, after = whole.groups()
                return f"{before}{scheme}://{self.url(scheme, rest)}{after}"
            return _INSIDE.sub(lambda found: f"{found[1]}://{self.url(found[1], found[2])}", text)
        if len(_PAIRS.findall(text)) and text.count("=") > 1 and "\n" not in text:
            return _KEYWORD.sub(self.keyword, text)
        return text

    def lines(self, text: str) -> str:
        """The text of a `.env` file."""

        def hide(line: "re.Match[str]") -> str:
            quoted = re.match(r"(['\"])(.*?)\1", line[4])
            value = quoted[2] if quoted else re.split(r"\s#", line[4], maxsplit=1)[0].strip()
            rest = line[4].replace(value, self.variable(line[2], value), 1) if value else line[4]
            return f"{line[1]}{line[2]}{line[3]}{rest}"

        return _ENV_LINE.sub(hide, text)

    def url(self, scheme: str, rest: str) -> str:
        """What follows `scheme://`."""
        if "sqlite" in scheme.lower():
            path, mark, query = rest.partition("?")
            if self.passwords_only or not path.strip("/") or ":memory:" in path:
                return rest
            return f"/{self.sqlite}{mark}{query}"
        head, mark, query = rest.partition("?")
        if "@" in query and "@" not in head:  # a question mark in the password
            head, mark, query = rest, "", ""
        login, at, place = head.rpartition("@")
        user, colon, password = login.partition(":")
        if password:
            login = f"{user}{colon}{self.password(unquote(password))}"
        if not self.passwords_only:
            hosts, slash, database = place.partition("/")
            srv = scheme.lower().endswith("+srv")
            place = f"{'db.hidden.invalid' if srv else self.host(hosts)}{slash}{database}"
        query = _IN_QUERY.sub(self.parameter, query)
        return f"{login}{at}{place}{mark}{query}"

    def parameter(self, found: "re.Match[str]") -> str:
        name, value = found.groups()
        if is_password(name):
            return f"{name}={self.password(unquote_plus(value))}"
        if self.passwords_only:
            return found[0]
        self.hosts.add(value)
        return f"{name}={NOWHERE}"

    def keyword(self, found: "re.Match[str]") -> str:
        name, equals, value = found.groups()
        bare = value.strip("'\"")
        if is_password(name):
            return f"{name}{equals}{self.password(bare)}"
        return found[0] if self.passwords_only else f"{name}{equals}{self.host(bare)}"

    def password(self, real: str) -> str:
        for token, known in self.passwords.items():
            if known == real:
                return token
        token = f"{NO_PASSWORD}{len(self.passwords) or ''}"
        self.passwords[token] = real
        return token

    def host(self, real: str) -> str:
        """In the place of `host:port`, or of several with commas between them."""
        if self.passwords_only:
            return real
        first = real.partition(",")[0]
        port = re.search(r":(\d+)$", first)
        self.hosts.add(first[: port.start()] if port else first)
        return f"{NOWHERE}{port[0] if port else ''}"


def is_password(name: str) -> bool:
    return name.lower().endswith(("password", "passwd", "pwd"))


def part(name: str) -> str:
    """`host` or `password` for a variable that holds that of a database, by its name."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).upper().split("_")
    while len(words) > 1 and _WHICH.match(words[-1]):
        words.pop()
    glued = _GLUED.match(words[-1])
    if glued:
        return "host" if glued[1] else "password"
    if any(_OF_A_DATABASE.match(word) for word in words[:-1]):
        if re.fullmatch(_PASSWORD, words[-1]):
            return "password"
        if re.fullmatch(_HOST, words[-1]):
            return "host"
    return ""
