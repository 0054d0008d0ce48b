"""Every generated layout is read right, and is itself a working project."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from projects import warm
from projects.layouts import LAYOUTS, Layout
from toolkit.project import ProjectError, read_project
from toolkit.project.errors import require_decided
from toolkit.project.prove import import_models
from toolkit.report.exits import Exit

Factory = Callable[[str], Layout]


@pytest.fixture(autouse=True)
def warm_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """What imports the project has SQLAlchemy already, in a process of its own all the same."""
    monkeypatch.setattr(sys, "executable", warm.python())


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_is_read_as_it_is(name: str, project_factory: Factory) -> None:
    layout = project_factory(name)
    project = read_project(layout.directory)
    assert project.root == layout.root
    assert project.import_root == layout.import_root
    assert project.app == layout.app
    assert not project.app_is_factory
    assert project.base is not None
    assert project.base.reference == layout.base
    assert project.model_modules == layout.model_modules
    assert tuple(sorted(item.table or "?" for item in project.models)) == layout.tables
    assert project.urls[0].reference == layout.url
    assert project.package_manager == layout.package_manager
    assert [setup.ini for setup in project.alembic] == ([layout.ini] if layout.ini else [])
    assert project.unreadable == ()


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.any_sqlalchemy
def test_layout_imports_and_knows_its_tables(
    name: str, project_factory: Factory, tmp_path: Path
) -> None:
    project = read_project(project_factory(name).directory)
    url = f"sqlite+aiosqlite:///{tmp_path}/a.db"
    report = import_models(project, project.model_modules, environment={"DATABASE_URL": url})
    assert report.ok, report.errors
    assert project.base is not None
    assert report.tables[project.base.reference] == ("items", "notes")
    assert set(report.classes.values()) == {"items", "notes"}


@pytest.mark.any_sqlalchemy
def test_monorepo_is_read_from_its_backend_too(project_factory: Factory) -> None:
    layout = project_factory("monorepo")
    assert read_project(layout.root).root == layout.root
    assert read_project(layout.root / "app").root == layout.root


@pytest.mark.any_sqlalchemy
def test_alembic_that_is_there(project_factory: Factory) -> None:
    (sync,) = read_project(project_factory("sync_alembic").root).alembic
    assert not sync.is_async
    assert sync.versions == (sync.ini.parent / "alembic" / "versions",)
    (broken,) = read_project(project_factory("broken_async_alembic").root).alembic
    assert broken.is_async
    assert broken.script_location == broken.ini.parent / "migrations"
    assert "app.models.item" in broken.imported_modules
    assert "app.models.note" not in broken.imported_modules


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("no_fastapi", Exit.NO_PROJECT, "--project DIR"),
        ("two_bases", Exit.AMBIGUOUS, "--base MODULE:NAME"),
        ("two_inis", Exit.AMBIGUOUS, "--ini FILE"),
    ],
)
def test_refusal_names_the_flag(name: str, code: int, said: str, project_factory: Factory) -> None:
    with pytest.raises(ProjectError) as refused:
        require_decided(read_project(project_factory(name).directory), "base")
    assert refused.value.problem.exit_code == code
    assert said in refused.value.problem.remedy


@pytest.mark.any_sqlalchemy
def test_base_flag_settles_two_bases(project_factory: Factory) -> None:
    project = read_project(project_factory("two_bases").directory, base="app.billing:BillingBase")
    assert project.base is not None
    assert project.base.reference == "app.billing:BillingBase"
    assert [item.name for item in project.models] == ["Invoice"]
    assert {item.name for item in project.mapped} == {"Invoice", "Item", "Note"}


@pytest.mark.any_sqlalchemy
def test_base_flag_follows_a_reexport(project_factory: Factory) -> None:
    project = read_project(project_factory("two_bases").directory, base="app.db:Base")
    assert project.base is not None
    assert project.base.reference == "app.db.base:Base"


@pytest.mark.any_sqlalchemy
def test_base_flag_that_is_no_base(project_factory: Factory) -> None:
    with pytest.raises(ProjectError, match="no declarative base") as refused:
        read_project(project_factory("app").directory, base="app.nowhere:Base")
    assert refused.value.problem.exit_code == Exit.USAGE


@pytest.mark.any_sqlalchemy
def test_ini_flag_settles_two_inis(project_factory: Factory) -> None:
    layout = project_factory("two_inis")
    project = read_project(layout.directory, ini="app/alembic.ini")
    assert [setup.ini for setup in project.alembic] == [layout.root / "app" / "alembic.ini"]
    assert project.alembic[0].script_location == layout.root / "alembic"


@pytest.mark.any_sqlalchemy
def test_fresh_project_has_settings_and_nothing_else(project_factory: Factory) -> None:
    project = read_project(project_factory("fresh").directory)
    assert project.base is None
    assert project.mapped == project.urls == project.alembic == ()
    assert [item.reference for item in project.settings] == ["app.config:settings"]
