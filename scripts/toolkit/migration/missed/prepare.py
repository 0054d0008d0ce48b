"""What models take for granted, and only migrations make."""

from toolkit.database.catalog import Catalog
from toolkit.migration.missed.postgresql_text import quote


def preparation(migrated: Catalog) -> list[str]:
    """Statements to run before create_all on an empty database; each of them may fail.

    Extensions (citext, vector) and functions (in server defaults). Not types: create_all
    would leave those that exist as they are, and their differences would not be seen.
    """
    if migrated["database"][""]["dialect"] != "postgresql":
        return []
    extensions = migrated.get("extension", {}).values()
    schemas = [*migrated.get("schema", ())]
    return [
        "SET LOCAL check_function_bodies = off",
        *(f"CREATE SCHEMA IF NOT EXISTS {quote(name)}" for name in schemas),
        *(
            f"CREATE EXTENSION IF NOT EXISTS {quote(one['name'])} SCHEMA {quote(one['in_schema'])}"
            for one in extensions
        ),
        *(str(one["definition"]) for one in migrated.get("function", {}).values()),
    ]
