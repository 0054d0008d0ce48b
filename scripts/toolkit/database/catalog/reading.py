"""Read the catalog of a database by its address; for the toolkit, not for its workers."""

from sqlalchemy import URL

from toolkit.database.connecting import on_connection

from . import Catalog, read_catalog


def read_catalog_at(url: URL) -> Catalog:
    """With whatever driver the URL names. Raises SQLAlchemyError or OSError."""
    return on_connection(url, read_catalog)
