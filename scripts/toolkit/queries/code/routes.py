"""Which functions answer requests, and what their answer is made of."""

import ast
from dataclasses import dataclass

from toolkit.project.imports import Module, assignments, dotted
from toolkit.project.metadata import ClassInfo
from toolkit.queries.code.source import Function, Sources

INJECTS = {"Depends", "Security"}
METHODS = {"get", "post", "put", "patch", "delete", "api_route"}


@dataclass(frozen=True)
class Endpoint:
    """A function under `@router.get("/posts")`."""

    method: str
    path: str
    answer: ast.expr | None
    """`response_model`, else the return annotation; None where there is no model."""


def endpoint_of(function: Function) -> Endpoint | None:
    for decorator in function.node.decorator_list:
        if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
            continue
        if decorator.func.attr not in METHODS or not decorator.args:
            continue
        path = decorator.args[0]
        if not (isinstance(path, ast.Constant) and isinstance(path.value, str)):
            continue
        if path.value and not path.value.startswith("/"):
            continue
        keywords = {keyword.arg: keyword.value for keyword in decorator.keywords}
        answer = keywords.get("response_model", function.node.returns)
        if isinstance(answer, ast.Constant):
            answer = None
        return Endpoint(decorator.func.attr, path.value, answer)
    return None


def injected_functions(sources: Sources) -> set[str]:
    """Full names of the functions that `Depends(...)` names anywhere."""
    found: set[str] = set()
    for module in sources.application:
        for node in module.nodes if not INJECTS.isdisjoint(module.words) else ():
            name = dotted(node.func) if isinstance(node, ast.Call) and node.args else None
            if isinstance(node, ast.Call) and (name or "").rpartition(".")[2] in INJECTS:
                found.add(sources.full_name(module, node.args[0]))
    return found - {""}


def one_of_list(node: ast.expr | None) -> ast.expr | None:
    """`Post` of `list[Post]`; None for what is no list."""
    if isinstance(node, ast.Subscript):
        outer = (dotted(node.value) or "").rpartition(".")[2]
        if outer in {"list", "List", "Sequence", "Iterable"}:
            return node.slice
    return None


def schema_fields(sources: Sources, module: Module, node: ast.expr | None) -> set[str] | None:
    """The fields of a Pydantic class of the project, inherited ones too; None for others."""
    info = sources.index.classes.get(sources.full_name(module, node))
    if info is None:
        return None
    chain = [info, *ancestors(sources, info)]
    roots = {base for one in chain for base in one.bases}
    if not roots & {"pydantic.BaseModel", "pydantic.main.BaseModel", "sqlmodel.SQLModel"}:
        return None
    computed = {
        inner.name
        for one in chain
        for inner in one.node.body
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    if any("model_validator" in ast.dump(one.node) for one in chain):
        return None
    declared = {
        name
        for one in chain
        for name, value, annotation in assignments(one.node.body)
        if annotation is not None and not renamed(value)
    }
    return declared - computed


def renamed(value: ast.expr | None) -> bool:
    """`Field(alias=...)`: read from another attribute."""
    return isinstance(value, ast.Call) and any(
        keyword.arg in {"alias", "validation_alias"} for keyword in value.keywords
    )


def ancestors(sources: Sources, info: ClassInfo, depth: int = 0) -> list[ClassInfo]:
    found: list[ClassInfo] = []
    for base in info.bases:
        parent = sources.index.classes.get(base)
        if parent is not None and depth < 10:
            found += [parent, *ancestors(sources, parent, depth + 1)]
    return found
