"""Why a new revision does not run: whose fault that is, and the next step (#13).

Facts are the server's message and the statement that it refused; nothing is run here.
"""

import re
from dataclasses import dataclass

from toolkit.migration.missed.postgresql_text import quote
from toolkit.migration.missed.source import execute

# What brings it, for what the types and indexes of public models use.
TYPES = {
    **dict.fromkeys(("geometry", "geography", "box2d", "box3d"), "postgis"),
    **dict.fromkeys(("vector", "halfvec", "sparsevec"), "vector"),
    **dict.fromkeys(("ltree", "lquery", "ltxtquery"), "ltree"),
    **dict.fromkeys(("isbn", "isbn13", "issn", "ean13", "upc"), "isn"),
    **{name: name for name in ("citext", "hstore", "cube", "seg")},
    "raster": "postgis_raster",
}
OPERATOR_CLASSES = {
    r"gi[ns]t?_trgm_ops": "pg_trgm",
    r"(?:vector|halfvec|sparsevec|bit)_(?:l1|l2|ip|cosine|hamming|jaccard)_ops": "vector",
    r"(?:sp)?gist_(?:geometry|geography)_ops\w*": "postgis",
    r"gist_ltree_ops|gist__ltree_ops": "ltree",
    r"gi[ns]t?_hstore_ops": "hstore",
    r"gi[ns]t?__int(?:big)?_ops": "intarray",
}
FUNCTIONS = {
    r"uuid_generate_v\w+|uuid_ns_\w+": "uuid-ossp",
    r"gen_random_bytes|gen_salt|crypt|digest|hmac|pgp_\w+": "pgcrypto",
    r"unaccent": "unaccent",
    r"(?:word_|strict_word_)?similarity|show_trgm": "pg_trgm",
    r"st_\w+": "postgis",
    r"levenshtein|soundex|d?metaphone": "fuzzystrmatch",
}
METHODS = {"hnsw": "vector", "ivfflat": "vector", "bloom": "bloom", "rum": "rum"}
SCALARS = re.compile(r"(?:small|big)?int(?:eger)?|uuid|numeric|date|boolean|double precision|inet")

NO_SCHEMA = re.compile(r"schema \"(?P<name>[^\"]+)\" does not exist")
NO_TYPE = re.compile(r"type \"(?:[\w$]+\.)?(?P<name>[\w$]+)(?:\[\])?\" does not exist")
NO_CLASS = re.compile(r"operator class \"(?:[\w$]+\.)?(?P<name>[\w$]+)\" does not exist")
NO_DEFAULT_CLASS = re.compile(
    r"data type (?P<type>[\w ]+) has no default operator class for access method \"(?P<how>\w+)\""
)
NO_FUNCTION = re.compile(r"function (?:[\w$]+\.)?(?P<name>[\w$]+)\([^)]*\) does not exist")
NO_METHOD = re.compile(r"access method \"(?P<name>\w+)\" does not exist")
NO_RELATION = re.compile(r"relation \"(?P<name>[^\"]+)\" does not exist")


@dataclass(frozen=True)
class Need:
    """What has to be there before the revision's own statements."""

    what: str
    up: str
    down: str | None = None
    """None for what others may use meanwhile: it stays after the downgrade."""

    @property
    def line(self) -> str:
        return execute(self.up)[0]


def need_of(message: str) -> Need | None:
    """From an error of PostgreSQL; None if it says nothing that a statement could make."""
    if found := NO_SCHEMA.search(message):
        name = found["name"]
        return Need(f"the schema {name}", f"CREATE SCHEMA IF NOT EXISTS {quote(name)}")
    if (found := NO_RELATION.search(message)) and f"nextval('{found['name']}'" in message:
        name = ".".join(quote(part) for part in found["name"].split("."))
        sequence = f"SEQUENCE {name}"
        return Need(f"the sequence {found['name']}", f"CREATE {sequence}", f"DROP {sequence}")
    if extension := extension_of(message):
        name = quote(extension)
        return Need(f"the extension {extension}", f"CREATE EXTENSION IF NOT EXISTS {name}")
    return None


def extension_of(message: str) -> str | None:
    if found := NO_TYPE.search(message):
        return TYPES.get(found["name"].lower())
    if found := NO_CLASS.search(message):
        return matching(OPERATOR_CLASSES, found["name"])
    if found := NO_FUNCTION.search(message):
        return matching(FUNCTIONS, found["name"])
    if found := NO_METHOD.search(message):
        return METHODS.get(found["name"].lower())
    if found := NO_DEFAULT_CLASS.search(message):
        how, kind = found["how"], found["type"]
        if how == "gist" and (SCALARS.fullmatch(kind) or kind in {"text", "character varying"}):
            return "btree_gist"
        return "btree_gin" if how == "gin" and SCALARS.fullmatch(kind) else None
    return None


def matching(patterns: dict[str, str], name: str) -> str | None:
    return next((to for one, to in patterns.items() if re.fullmatch(one, name.lower())), None)


# What no statement before it would cure. Everything else may be either's fault.
MODEL = re.compile(
    r"no default operator class|no unique constraint matching|used in key specification without a"
    r" key length|key was too long|no default value|Row size too large|are of incompatible types"
    r"|specified more than once|generation expression is not immutable"
    r"|functions in index expression must be marked IMMUTABLE|[Ii]nvalid default value",
)

# Of a column that gets another type, where plain Alembic fails, too.
BUILT_ON_IT = re.compile(
    r"cannot alter type of a column used by|functions in index (?:predicate|expression) must be"
    r" marked IMMUTABLE\s*\[SQL: ALTER TABLE \S+ ALTER COLUMN"
)

# Of an env.py as `alembic init` writes it.
NO_BATCH = re.compile(
    r"near \"(?:ALTER|CONSTRAINT)\": syntax error|No support for ALTER of constraints in SQLite"
)


def blame(message: str) -> str:
    """The last word, where no next step is known."""
    if NO_BATCH.search(message):
        return (
            "SQLite changes no column and no constraint in place: write render_as_batch=True into"
            " context.configure(...) in env.py, both times, and run this again."
        )
    if BUILT_ON_IT.search(message):
        return (
            "Something is built on the column: a generated column, a view, an index. Write the"
            " revision by hand (`alembic revision -m retype`): drop that, change the type, make it"
            " again."
        )
    if MODEL.search(message):
        return "The models ask for something that this database refuses; change the model."
    return (
        "The message says what this database refuses. It is the model's fault, or the revision"
        " needs something that an earlier one has to make: `alembic revision -m before`, with it in"
        " op.execute()."
    )
