"""Calls us when a module was imported, and imports nothing itself."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from . import records

Action = Callable[[ModuleType], None]

_actions: dict[str, list[Action]] = {}


def when_imported(name: str, action: Action) -> None:
    """Call `action` with the module `name` as soon as it was imported in full."""
    _actions.setdefault(name, []).append(action)


def install() -> None:
    """Begin to look; what is imported already (by a .pth file) is served at once."""
    for name in list(_actions):
        if name in sys.modules:
            _act(sys.modules[name])
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Lets the others find a module, and adds to how it is executed."""

    def __init__(self) -> None:
        self._asking: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _actions or fullname in self._asking:
            return None
        self._asking.add(fullname)
        try:
            for finder in sys.meta_path:
                find = getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = find(fullname, path, target) if find else None
                if spec is not None:
                    if spec.loader is not None:
                        _act_after(spec.loader)
                    return spec
        finally:
            self._asking.discard(fullname)
        return None


def _act_after(loader: Loader) -> None:
    """The module keeps its own loader, which some code looks at."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        _act(module)

    loader.exec_module = exec_module  # type: ignore[method-assign]


def _act(module: ModuleType) -> None:
    for action in _actions.pop(module.__name__, ()):
        records.guarded(action)(module)
