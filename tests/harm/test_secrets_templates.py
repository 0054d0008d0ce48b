"""What is copied into a project has a rule of its own, for it stands alone (#11)."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.any_sqlalchemy

ENV = Path(__file__).parents[2] / "templates" / "env.py"
PASSWORDS = ("hunter2", "p@ss/w:rd", "my pass word", "qu'ote", 'dou"ble', "ends.", "per%40cent")


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "text",
    [
        "ValueError: cannot parse postgresql+asyncpg://app:{}@db.internal/shop",
        "KeyError: 'mysql://app:{}@db.internal/shop', in settings",
        "ArgumentError: postgresql://db.internal/shop?user=app&password={}",
        "TypeError: host=db.internal password='{}' dbname=shop",
    ],
)
def test_env_py_repeats_no_password(text: str, password: str) -> None:
    if "password=" in text:
        password = password.replace("'", "").replace('"', "").replace(" ", "")
    source = ast.parse(ENV.read_text(encoding="utf-8"))
    (function,) = (
        node for node in source.body if isinstance(node, ast.FunctionDef) and node.name == "reason"
    )
    names: dict[str, Any] = {"re": re}
    exec(compile(ast.Module([function], []), "env.py", "exec"), names)
    shown = names["reason"](Exception(text.format(password)))
    assert password not in shown
    assert "db.internal" in shown
