"""Watches SQLAlchemy, Starlette and pytest from inside the application's process.

Standard library, and what the project has imported itself, only. Nothing is imported early:
see hooks.py.
"""

# Why own code, and neither queryspy 0.6.0 nor pytest-queryguard 0.4.1 (both MIT, both good).
# Tried on an async FastAPI application with a planted fault in each of its routes:
#
#                                              queryspy   queryguard   here
#   awaitable_attrs in a loop                  yes        yes          yes
#   session.get in a loop                      yes        yes          yes
#   lazy load that ends in MissingGreenlet     no         no           yes
#   connection held across a slow await        no         no           yes
#   session never closed                       no         no           yes
#   commit in a loop                           no         no           yes
#   rows that were fetched                     no         no           yes
#   parameters and engine, for EXPLAIN         no         no           yes
#   unit of the findings                       test       test         request, and its test
#
# Both are pytest plugins that the project would have to install ("no new dependency in it"),
# and neither follows one request in a test that sends several. What is borrowed is the idea
# of walking on in the parent greenlet's frame to find the application's line (queryspy), and
# of counting loads of a relationship apart from repeated statements (queryguard).

import atexit
from pathlib import Path

from . import asgi, hooks, lazy, places, records, sessions, statements, testing, units


def start(folder: Path) -> None:
    """Begin; `folder` is the one that holds the settings and takes the records."""
    settings = records.Settings.read(folder.parent / "settings.json")
    records.use(settings)
    places.use(settings.root)
    hooks.when_imported("sqlalchemy", statements.listen)
    hooks.when_imported("sqlalchemy", lazy.listen)
    hooks.when_imported("sqlalchemy.orm", sessions.listen)
    hooks.when_imported("sqlalchemy.orm", lazy.listen_to_orm)
    hooks.when_imported("starlette.applications", asgi.wrap_application)
    hooks.when_imported("starlette.routing", asgi.wrap_router)
    hooks.when_imported("_pytest.config", testing.wrap_plugin_manager)
    hooks.install()
    records.when_forked(units.forget)
    atexit.register(units.end_process)
