"""From an expression such as `create_async_engine(url)`'s `url` back to where it comes from."""

import ast
import re
from dataclasses import dataclass

from toolkit.project.calls import CallIndex, Place, promise
from toolkit.project.expressions import (
    argument_for,
    default_of,
    has_default,
    local_value,
    matching_part,
    parameters,
    replaced,
    root_of,
    steps_of,
)
from toolkit.project.imports import FunctionNode, Module, dotted

_ENV_NAME = re.compile(r"^[A-Z][A-Z0-9_]*$")
_ENV_READERS = {"getenv", "get", "config", "env", "str", "url", "get_env", "environ"}
_WRAPPERS = {"builtins.str", "sqlalchemy.make_url", "sqlalchemy.engine.make_url"}
_WRAPPERS |= {"sqlalchemy.engine.url.make_url"}
_MAX_DEPTH = 12


@dataclass(frozen=True)
class Origin:
    """`reference` as in UrlSource, and where that was seen."""

    reference: str
    module: Module
    line: int


class Tracer:
    """Follows variables, parameters, attributes and calls. Evaluates nothing."""

    def __init__(self, calls: CallIndex) -> None:
        self.calls = calls
        self.resolver = calls.resolver

    def trace(self, node: ast.expr, place: Place, depth: int = 0) -> list[Origin]:
        """Where the value of `node` comes from; empty when no import could spell it."""
        if depth > _MAX_DEPTH:
            return []
        if isinstance(node, ast.Constant):
            return self._literal(node, place)
        name = self.env_name(node, place)
        if name:
            return [Origin(f"env:{name}", place.module, node.lineno)]
        if isinstance(node, ast.Call):
            function = dotted(node.func)
            full = self.resolver.qualify(place.module, function) if function else ""
            ours = full.endswith(".database_url.normalize_url")  # the template's, in env.py (#13)
            if (full in _WRAPPERS or ours) and len(node.args) == 1:
                return self.trace(node.args[0], place, depth + 1)
        return self._chain(node, place, depth)

    def env_name(self, node: ast.expr, place: Place) -> str | None:
        """Name of the environment variable that `node` reads, if that is what it does."""
        if isinstance(node, ast.Subscript):
            text, key = dotted(node.value), node.slice
            if text is None or not self.resolver.qualify(place.module, text).endswith("environ"):
                return None
        elif isinstance(node, ast.Call) and node.args:
            text, key = dotted(node.func), node.args[0]
            if text is None:
                return None
            meant = self.resolver.qualify(place.module, text)  # `import config as settings` (#12)
            if _ENV_READERS.isdisjoint(one.rpartition(".")[2] for one in (text, meant)):
                return None
        else:
            return None
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            return key.value if _ENV_NAME.match(key.value) else None
        return None

    def _literal(self, node: ast.Constant, place: Place) -> list[Origin]:
        if not isinstance(node.value, str):
            return []
        return [Origin(f"literal:{place.module.path}:{node.lineno}", place.module, node.lineno)]

    def _chain(self, node: ast.expr, place: Place, depth: int) -> list[Origin]:
        root = root_of(node)
        if root is None:
            return []
        if root.id == "self" and place.owner is not None:
            return self._attribute(node, place, depth)
        for position in range(len(place.functions) - 1, -1, -1):
            function = place.functions[position]
            outer = Place(place.module, place.functions[: position + 1], place.owner)
            value = local_value(function, root.id)
            if value is not None and not any(n is value for n in ast.walk(node)):
                return self.trace(replaced(node, root, value), outer, depth + 1)
            if root.id in parameters(function):
                return self._parameter(node, root, function, outer, depth)
        return self._module_level(node, place, depth)

    def _attribute(self, node: ast.expr, place: Place, depth: int) -> list[Origin]:
        """`self.url`: what a method of the class assigned to it."""
        assert place.owner is not None
        for method in place.owner.body:
            if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            inside = Place(place.module, (method,), place.owner)
            for statement in ast.walk(method):
                targets = statement.targets if isinstance(statement, ast.Assign) else []
                for target in targets:
                    part = matching_part(node, target)
                    if part is not None and isinstance(statement, ast.Assign):
                        return self.trace(replaced(node, part, statement.value), inside, depth + 1)
        return []

    def _parameter(
        self, node: ast.expr, root: ast.Name, function: FunctionNode, place: Place, depth: int
    ) -> list[Origin]:
        """A parameter: what the callers pass, else its default."""
        owner = place.owner if place.owner and function in place.owner.body else None
        if owner is None:
            sites = self.calls.callers(place.module, function.name)
        elif function.name == "__init__":
            sites = self.calls.callers(place.module, owner.name)
        else:
            sites = self.calls.method_callers(place.module, owner.name, function.name)
        passed = [
            (site, argument)
            for site in sites
            if (argument := argument_for(site, function, root.id, skip_self=owner is not None))
            is not None
        ]
        found: list[Origin] = []
        of_a_module = False
        for site, argument in sorted(passed, key=lambda one: promise(one[0], [one[1]])):
            if of_a_module and site.assigned is None:
                break  # a tool's
            found += self.trace(replaced(node, root, argument), site.place, depth + 1)
            of_a_module = bool(found) and site.assigned is not None
        default = default_of(function, root.id)
        if not found and default is not None and not isinstance(default, ast.Call):
            found = self.trace(replaced(node, root, default), Place(place.module), depth + 1)
        return found

    def _module_level(self, node: ast.expr, place: Place, depth: int) -> list[Origin]:
        steps, symbol = steps_of(node)
        full = self.resolver.qualify(place.module, symbol)
        while full in self.resolver.modules and steps:
            step = steps[0]
            if not isinstance(step, ast.Attribute):
                break
            steps.pop(0)
            inner = f"{full}.{step.attr}"
            known = inner in self.resolver.modules
            full = inner if known else self.resolver.qualify(self.resolver.modules[full], step.attr)
        located = self.resolver.locate(full)
        if located is None:
            own = place.module.name not in self.resolver.modules
            return self._script(node, place, symbol, depth) if own else []
        module, name, rest = located
        suffix = (f".{rest}" if rest else "") + "".join(self._suffix(s, full) for s in steps)
        if "\0" in suffix:
            return []
        value = self.resolver.bindings(module).values.get(name)
        maker = self._maker(module, value)
        if maker:
            # `settings = get_settings()` beside the engine: ask where the settings live, so
            # that reading the URL does not also build the engine.
            return [Origin(f"{maker}(){suffix}", place.module, node.lineno)]
        if not suffix and value is not None:
            return self._variable(module, name, value)
        return [Origin(f"{module.name}:{name}{suffix}", place.module, node.lineno)]

    def _maker(self, module: Module, value: ast.expr | None) -> str | None:
        """`other:function` when the value is that function's (or class's) bare call."""
        if not isinstance(value, ast.Call) or value.args or value.keywords:
            return None
        full = self.resolver.qualify(module, dotted(value.func) or "?")
        located = self.resolver.locate(full)
        if located is None or located[0] is module or located[2]:
            return None
        return f"{located[0].name}:{located[1]}"

    def _variable(self, module: Module, name: str, value: ast.expr) -> list[Origin]:
        """A module variable stands for itself, unless it only reads the environment."""
        inside = Place(module)
        here = Origin(f"{module.name}:{name}", module, value.lineno)
        variable = self.env_name(value, inside)
        if variable:
            there = Origin(f"env:{variable}", module, value.lineno)
            # With a default, the variable knows more than the environment does.
            return [here, there] if has_default(value) else [there]
        if isinstance(value, ast.Constant):
            return [here, *self._literal(value, inside)]
        return [here]

    def _script(self, node: ast.expr, place: Place, symbol: str, depth: int) -> list[Origin]:
        """In env.py nothing can be imported from the file itself: look into it."""
        bound = self.resolver.bindings(place.module)
        value = bound.values.get(symbol)
        if value is not None and isinstance(node, ast.Name):
            return self.trace(value, place, depth + 1)
        function = bound.functions.get(symbol)
        found: list[Origin] = []
        if function is not None and isinstance(node, ast.Call):
            inside = Place(place.module, (function,))
            for statement in ast.walk(function):
                if isinstance(statement, ast.Return) and statement.value is not None:
                    found += self.trace(statement.value, inside, depth + 1)
        return found

    def _suffix(self, step: ast.expr, full: str) -> str:
        """Source text of one step; a NUL in it says that it cannot be written elsewhere."""
        if isinstance(step, ast.Attribute):
            return f".{step.attr}"
        if isinstance(step, ast.Subscript):
            return f"[{ast.unparse(step.slice)}]" if isinstance(step.slice, ast.Constant) else "\0"
        if not isinstance(step, ast.Call):
            return "\0"
        values = [*step.args, *(keyword.value for keyword in step.keywords)]
        if all(isinstance(value, ast.Constant) for value in values):
            bare = ast.Call(ast.Name("f", ast.Load()), step.args, step.keywords)
            return ast.unparse(bare).removeprefix("f")
        located = self.resolver.locate(full)
        function = self.resolver.bindings(located[0]).functions.get(located[1]) if located else None
        optional = function is not None and all(
            default_of(function, name) is not None for name in parameters(function)
        )
        return "()" if optional else "\0"
