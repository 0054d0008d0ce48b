"""Passwords that stand in a project's source and settings files, so that none is printed."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from toolkit.project.imports import Module, dotted
from toolkit.report.masking import MASKER

WRAPPER = re.compile(r"(?:^|\.)(?:Secret\w*|Field|quote|quote_plus|str)$")


def learn_passwords(folders: Iterable[Path], modules: Iterable[Module]) -> None:
    """Tell the program's masker what it must not let through."""
    for folder in dict.fromkeys(folders):
        MASKER.learn_folder(folder)
    for module in modules:
        for name, value in named_texts(module):
            MASKER.learn_variable(name, value)


def named_texts(module: Module) -> Iterator[tuple[str, str]]:
    """Texts with the name that they are given to; of the others, those that are URLs."""
    for node in module.nodes:
        if isinstance(node, ast.Assign):
            names = [dotted(target) for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            names = [dotted(node.target)]
        elif isinstance(node, ast.keyword):
            names = [node.arg]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "://" in node.value:
            yield "", node.value
            continue
        else:
            continue
        for text in texts_in(node.value):
            yield from ((name.rpartition(".")[2], text) for name in names if name)


def texts_in(value: ast.expr | None) -> list[str]:
    """`"x"`, `SecretStr("x")`, `Field(default="x")`; a column's name in its call is none."""
    if isinstance(value, ast.Call) and WRAPPER.search(dotted(value.func) or ""):
        inside = [*value.args[:1], *(one.value for one in value.keywords if one.arg == "default")]
        return [text for one in inside for text in texts_in(one)]
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return [value.value]
    return []
