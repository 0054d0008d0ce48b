"""Makes a unit of each test of pytest. PYTEST_DONT_REWRITE"""

from collections.abc import Generator
from types import ModuleType
from typing import Any

from . import records, units
from .foreign import Foreign

NAME = "query-capture"


def wrap_plugin_manager(config: ModuleType) -> None:
    """Register our plugin when pytest reads which ones the environment asks for."""
    consider = config.PytestPluginManager.consider_env

    def consider_env(self: Foreign) -> None:
        consider(self)
        if not self.has_plugin(NAME):
            self.register(_plugin(config), NAME)

    config.PytestPluginManager.consider_env = consider_env


def _plugin(config: Foreign) -> object:
    """Old-style wrappers, which every pytest has."""
    mark = config.hookimpl(hookwrapper=True, tryfirst=True)
    plugin = ModuleType(NAME, "PYTEST_DONT_REWRITE")
    for hook in (pytest_runtest_protocol, pytest_runtest_makereport):
        setattr(plugin, hook.__name__, mark(hook))
    return plugin


def pytest_runtest_protocol(item: Foreign) -> Generator[None, Any, None]:
    unit = _begin(item.nodeid)
    yield
    if unit is not None:
        _end(unit)


def pytest_runtest_makereport(call: Foreign) -> Generator[None, Any, None]:
    outcome = yield
    unit = units.current_test()
    # A hook before this one may have raised.
    report = None if outcome.excinfo else outcome.get_result()
    if unit is not None and report is not None and report.outcome == "failed":
        unit.error = unit.error or getattr(call.excinfo, "value", None)


@records.guarded
def _begin(name: str) -> units.Unit:
    return units.begin_test(name)


@records.guarded
def _end(unit: units.Unit) -> None:
    units.end_test(unit)
    unit.error = None
