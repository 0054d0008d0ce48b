"""Which project, which application is meant: evidence is weighed before anybody is asked (#12)."""

from pathlib import Path

import pytest

from projects.layouts import write
from toolkit.project import Project, ProjectError, read_project
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"
PLUGIN = "from fastapi import APIRouter\n\nrouter = APIRouter()\n"
SUB = "from fastapi import FastAPI\n\nsub = FastAPI()\n"
PROJECT = "[project]\nname = 'x'\n"
BASE = "from sqlalchemy.orm import DeclarativeBase\n\n\nclass Base(DeclarativeBase):\n    pass\n"
MODEL = (
    "from sqlalchemy.orm import Mapped, mapped_column\nfrom {base} import Base\n\n\n"
    "class {name}(Base):\n    __tablename__ = '{table}'\n"
    "    id: Mapped[int] = mapped_column(primary_key=True)\n"
)
INI = "[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = .\n"
ENV = (
    "from alembic import context\nfrom app.models import Base\n\n"
    "context.configure(target_metadata=Base.metadata)\n"
)
APP = {
    "app/__init__.py": "",
    "app/main.py": MAIN,
    "app/db.py": BASE,
    "app/models.py": MODEL.format(base="app.db", name="Thing", table="thing"),
}
ALEMBIC = {"alembic.ini": INI, "migrations/env.py": ENV}
SERVICE = {**APP, **ALEMBIC, "pyproject.toml": PROJECT}
SMALL = {"pyproject.toml": PROJECT, "main.py": MAIN}


def below(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


# What there is, where the script is started, the root, the import root, and the ini.
ROOTS: dict[str, tuple[dict[str, str], str, str, str, str | None]] = {
    "a module called setup.py": (
        {
            "pyproject.toml": PROJECT,
            **below("src", {**APP, **ALEMBIC}),
            "src/app/core/__init__.py": "",
            "src/app/core/setup.py": "from fastapi import FastAPI\n\n\ndef create() -> FastAPI:\n"
            "    return FastAPI()\n",
        },
        "src",
        ".",
        "src",
        "src/alembic.ini",
    ),
    "a setup() of its own": (
        {"pyproject.toml": PROJECT, **APP, "app/setup.py": MAIN + "\n\ndef setup():\n    pass\n"},
        ".",
        ".",
        ".",
        None,
    ),
    "plug-ins with requirements": (
        {
            "pyproject.toml": PROJECT,
            **below("backend", {**APP, **ALEMBIC}),
            "backend/plugin/mail/requirements.txt": "aiosmtplib\n",
            "backend/plugin/mail/api.py": PLUGIN,
            "backend/plugin/sso/requirements.txt": "httpx\n",
            "backend/plugin/sso/api.py": PLUGIN,
        },
        "backend",
        ".",
        "backend",
        "backend/alembic.ini",
    ),
    "plug-ins, no Alembic": (
        {
            "pyproject.toml": PROJECT,
            **below("backend", APP),
            "backend/plugin/mail/requirements.txt": "aiosmtplib\n",
            "backend/plugin/mail/api.py": PLUGIN,
        },
        "backend",
        ".",
        "backend",
        None,
    ),
    "a plug-in with an application": (
        {
            "pyproject.toml": PROJECT,
            **below("backend", {**APP, **ALEMBIC}),
            "backend/plugin/mail/requirements.txt": "aiosmtplib\n",
            "backend/plugin/mail/api.py": SUB,
        },
        "backend",
        ".",
        "backend",
        "backend/alembic.ini",
    ),
    "an application within one": (
        {
            **below("backend", SERVICE),
            "backend/app/plugins/x/requirements.txt": "httpx\n",
            "backend/app/plugins/x/api.py": SUB,
        },
        ".",
        "backend",
        "backend",
        "backend/alembic.ini",
    ),
    "services, in one of them": (
        {**below("orders", SERVICE), **below("users", SERVICE)},
        "orders",
        "orders",
        "orders",
        "orders/alembic.ini",
    ),
    "services, one with a database": (
        {**below("gateway", SMALL), **below("orders", SERVICE)},
        ".",
        "orders",
        "orders",
        "orders/alembic.ini",
    ),
    "services, one with SQLAlchemy": (
        {**below("gateway", SMALL), **below("orders", {**APP, "pyproject.toml": PROJECT})},
        ".",
        "orders",
        "orders",
        None,
    ),
    "an application and a demo beside it": (
        {**below("backend", SERVICE), "demo.py": MAIN},
        ".",
        "backend",
        "backend",
        "backend/alembic.ini",
    ),
    "no dependencies, a folder with an ini": (
        {**below("api", {**APP, **ALEMBIC}), ".git/HEAD": ""},
        "api",
        "api",
        "api",
        "api/alembic.ini",
    ),
    "an ini in this folder and others": (
        {"pyproject.toml": PROJECT, **APP, **ALEMBIC, "deploy/alembic.ini": INI},
        ".",
        ".",
        ".",
        "alembic.ini",
    ),
    "an ini, and nothing with FastAPI": (
        {
            name: text
            for name, text in {"pyproject.toml": PROJECT, **APP, **ALEMBIC}.items()
            if name != "app/main.py"
        },
        ".",
        ".",
        ".",
        "alembic.ini",
    ),
    "a library with the tables": (
        {
            "pyproject.toml": "[tool.uv.workspace]\nmembers = ['packages/*']\n",
            "uv.lock": "",
            **below("packages/api", SMALL),
            **{
                name: text
                for name, text in below("packages/tables", SERVICE).items()
                if name != "packages/tables/app/main.py"
            },
        },
        "packages/tables",
        "packages/tables",
        "packages/tables",
        "packages/tables/alembic.ini",
    ),
    "a workspace, from its root": (
        {
            "pyproject.toml": "[tool.uv.workspace]\nmembers = ['packages/*']\n",
            "uv.lock": "",
            "packages/api/pyproject.toml": PROJECT,
            "packages/api/src/api/__init__.py": "",
            "packages/api/src/api/main.py": f"{MAIN}from api.routes import x\n",
            "packages/api/src/api/routes.py": "from app.models import Thing\n",
            "packages/tables/pyproject.toml": PROJECT,
            **{
                name: text
                for name, text in below("packages/tables/src", APP).items()
                if not name.endswith("main.py")
            },
            **below("packages/tables", ALEMBIC),
        },
        ".",
        ".",
        "packages/api/src",
        "packages/tables/alembic.ini",
    ),
    "an Alembic beside the application's folder": (
        {**below("backend", {**APP, "pyproject.toml": PROJECT}), **below("db", ALEMBIC)},
        ".",
        ".",
        "backend",
        "db/alembic.ini",
    ),
    "Alembic in pyproject.toml": (
        {
            **APP,
            "pyproject.toml": PROJECT + '[tool.alembic]\nscript_location = "%(here)s/migrations"\n',
            "migrations/env.py": ENV,
            "tools/requirements.txt": "",
            "tools/serve.py": MAIN,
        },
        ".",
        ".",
        ".",
        "pyproject.toml",
    ),
}


@pytest.mark.parametrize("name", ROOTS)
def test_the_project_that_is_meant(name: str, tmp_path: Path) -> None:
    files, here, root, import_root, ini = ROOTS[name]
    write(tmp_path, files)
    project = read_project(tmp_path / here)
    assert project.root == tmp_path / root
    assert project.import_root == tmp_path / import_root
    assert [setup.ini for setup in project.alembic] == ([tmp_path / ini] if ini else [])
    assert [item.name for item in project.models] == ["Thing"]


def test_services_that_share_a_dependency_file(tmp_path: Path) -> None:
    """Each is one project: what is beside it counts only where it is imported."""
    shared = "services/shared"
    files = {"pyproject.toml": PROJECT, "services/__init__.py": "", f"{shared}/__init__.py": ""}
    files[f"{shared}/db.py"] = BASE
    for one in ("orders", "users"):
        folder = f"services/{one}"
        files |= {
            f"{folder}/__init__.py": "",
            f"{folder}/main.py": MAIN,
            f"{folder}/models.py": MODEL.format(
                base="services.shared.db", name=one.title(), table=one
            ),
            f"{folder}/alembic.ini": INI.replace("= .", "= ../.."),
            f"{folder}/migrations/env.py": ENV.replace("app.models", f"services.{one}.models"),
        }
    write(tmp_path, files)
    for one in ("orders", "users"):
        project = read_project(tmp_path / "services" / one)
        assert project.root == project.import_root == tmp_path
        assert project.app == f"services.{one}.main:app"
        assert [item.table for item in project.models] == [one]
        assert [setup.ini for setup in project.alembic] == [
            tmp_path / "services" / one / "alembic.ini"
        ]
        assert project.undecided == {}
        (other,) = {"orders", "users"} - {one}
        assert not [path for path in project.files if other in path.parts]
    with pytest.raises(ProjectError) as refused:
        read_project(tmp_path)
    problem = refused.value.problem
    assert problem.exit_code == Exit.AMBIGUOUS
    assert "services/orders/alembic.ini, services/users/alembic.ini" in problem.message
    for candidate in ("services/orders/alembic.ini", "services/users/alembic.ini"):
        (setup,) = read_project(tmp_path, ini=candidate).alembic
        assert setup.ini == tmp_path / candidate


def test_candidates_are_right_ones(tmp_path: Path) -> None:
    """A folder that would be refused when it is named is no candidate."""
    write(tmp_path, below("orders", SERVICE) | below("users", SERVICE) | below("web", SMALL))
    write(tmp_path, {"plugin/requirements.txt": "", "plugin/api.py": PLUGIN})
    with pytest.raises(ProjectError, match="orders, users") as refused:
        read_project(tmp_path)
    assert "web" not in refused.value.problem.message
    assert "plugin" not in refused.value.problem.message
    for name in ("orders", "users"):
        assert read_project(tmp_path / name).root == tmp_path / name


def test_one_line_says_what_was_taken(tmp_path: Path) -> None:
    write(tmp_path, below("gateway", SMALL) | below("orders", SERVICE))
    write(tmp_path, {"orders/deploy/other.ini": INI.replace("migrations", "more")})
    (line,) = read_project(tmp_path).choices["project"]
    expected = (
        "orders is taken: it has an Alembic set-up, gateway not (--project DIR names another)"
    )
    assert line == expected
    (line,) = read_project(tmp_path / "orders").choices["alembic"]
    assert line == (
        "alembic.ini is taken, in this folder, and not deploy/other.ini (--ini FILE names another)"
    )


FACTORY = "from fastapi import FastAPI\n\n\ndef {name}() -> FastAPI:\n    return FastAPI()\n"
APPLICATIONS: dict[str, tuple[dict[str, str], str | None, bool]] = {
    "three in a script": (
        {
            "app/main.py": FACTORY.format(name="create_app"),
            "scripts/schema.py": "from fastapi import FastAPI\nfrom app.main import create_app\n\n"
            "public = create_app()\nprivate = FastAPI()\nother = FastAPI()\n",
        },
        "app.main:create_app",
        True,
    ),
    "a factory of another name": (
        {"app/main.py": FACTORY.format(name="build")},
        "app.main:build",
        True,
    ),
    "had from a factory elsewhere": (
        {
            "app/factory.py": FACTORY.format(name="get_app"),
            "app/main.py": "from app.factory import get_app\n\napp = get_app()\n",
        },
        "app.main:app",
        False,
    ),
    "a factory of a factory": (
        {
            "app/factory.py": FACTORY.format(name="get_app"),
            "app/main.py": "from fastapi import FastAPI\nfrom app.factory import get_app\n\n\n"
            "def serve() -> FastAPI:\n    return get_app()\n",
            "Dockerfile": 'CMD ["uvicorn", "--factory", "app.main:serve"]\n',
        },
        "app.main:serve",
        True,
    ),
    "sub-applications": (
        {
            "app/admin.py": MAIN,
            "app/main.py": "from fastapi import FastAPI\nfrom app.admin import app as admin\n\n"
            "app = FastAPI()\napi = FastAPI()\napp.mount('/admin', admin)\n"
            "app.mount('/api', app=api)\n",
        },
        "app.main:app",
        False,
    ),
    "a subclass": (
        {
            "app/core.py": "from fastapi import FastAPI\n\n\nclass Service(FastAPI):\n    pass\n",
            "app/main.py": "from app.core import Service\n\nservice = Service()\n",
        },
        "app.main:service",
        False,
    ),
    "wrapped": (
        {
            "app/main.py": "from fastapi import FastAPI\nfrom other import Wrapped\n\n"
            "app = Wrapped(FastAPI())\n"
        },
        "app.main:app",
        False,
    ),
    "an annotation": (
        {
            "app/main.py": "from fastapi import FastAPI\nfrom app.box import box\n\n"
            "app: FastAPI = box.application()\n",
            "app/box.py": "box = object()\n",
        },
        "app.main:app",
        False,
    ),
    "what a container starts": (
        {
            "a/main.py": MAIN,
            "b/main.py": MAIN,
            "Dockerfile": 'CMD ["uvicorn", "b.main:app", "--host", "0.0.0.0"]\n',
        },
        "b.main:app",
        False,
    ),
    "what uvicorn.run starts": (
        {
            "a/main.py": MAIN,
            "b/main.py": MAIN,
            "serve.py": "import uvicorn\n\nuvicorn.run('a.main:app', reload=True)\n",
        },
        "a.main:app",
        False,
    ),
    "what fastapi run starts": (
        {"a/main.py": MAIN, "b/main.py": MAIN, "Procfile": "web: fastapi run b/main.py\n"},
        "b.main:app",
        False,
    ),
    "what pyproject.toml names": (
        {
            "a/main.py": MAIN,
            "b/main.py": MAIN,
            "pyproject.toml": PROJECT + '[tool.fastapi]\nentrypoint = "b.main:app"\n',
        },
        "b.main:app",
        False,
    ),
    "one with arguments is no factory": (
        {
            "app/main.py": "from fastapi import FastAPI\n\n\ndef make(settings) -> FastAPI:\n"
            "    return FastAPI()\n\n\ndef create() -> FastAPI:\n    return make(1)\n"
        },
        "app.main:create",
        True,
    ),
    "examples": (
        {"app/main.py": MAIN, "examples/main.py": MAIN, "docs_src/app/main.py": MAIN},
        "app.main:app",
        False,
    ),
    "an application in a package's __init__": (
        {"app/__init__.py": MAIN, "app/api.py": PLUGIN},
        "app:app",
        False,
    ),
    "routers only": ({"app/main.py": PLUGIN}, None, False),
}


def application(root: Path, files: dict[str, str], given: str | None = None) -> Project:
    write(root, {"pyproject.toml": PROJECT, "app/__init__.py": "", **files})
    return read_project(root, app=given)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_application_that_is_meant(name: str, tmp_path: Path) -> None:
    files, app, factory = APPLICATIONS[name]
    project = application(tmp_path, files)
    assert (project.app, project.app_is_factory) == (app, factory)
    assert project.undecided == {}


def test_an_application_that_its_owner_names(tmp_path: Path) -> None:
    files = {
        "app/main.py": "import fastapi\nfrom other import *\n\napp = make()\n\n\n"
        "def serve():\n    return app\n"
    }
    assert application(tmp_path, files).app is None
    for given in ("app.main:app", "app.main:serve", "app.main:serve()", "app.main:anything"):
        project = application(tmp_path, files, given)
        assert project.app == given.removesuffix("()")
        assert project.app_is_factory == ("serve" in given)
    with pytest.raises(ProjectError) as refused:
        application(tmp_path, files, "app.nothing:app")
    assert refused.value.problem.exit_code == Exit.USAGE
