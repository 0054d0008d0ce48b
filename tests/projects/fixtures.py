"""Fixtures that make projects of every layout."""

from collections.abc import Callable
from pathlib import Path

import pytest

from projects.layouts import LAYOUTS, OTHERS, Layout


@pytest.fixture
def project_factory(tmp_path: Path) -> Callable[[str], Layout]:
    """Make a project by its name in `LAYOUTS` or `OTHERS`, in a folder with a space in its path."""

    def make(name: str) -> Layout:
        directory = tmp_path / "my projects" / name
        directory.mkdir(parents=True)
        return {**LAYOUTS, **OTHERS}[name](directory)

    return make
