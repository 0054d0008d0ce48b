"""Twenty forms in which a project says where its database is (#12)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SETTINGS = "from pydantic_settings import BaseSettings\n\n\nclass Settings(BaseSettings):\n"
MADE = "\n\nsettings = Settings()\n"


@dataclass(frozen=True)
class Address:
    """The files of one form, and how `env.py` and the application come to the URL."""

    imports: str
    expression: str
    files: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    url_in_ini: str = ""


def _in(settings: str, expression: str = "settings.database_url", *, by: str = "settings",
        variables: dict[str, str] | None = None, **files: str) -> Address:  # fmt: skip
    named = {name.replace("__", "/").replace("_DOT_", "."): text for name, text in files.items()}
    return Address(f"from app.config import {by}", expression,
                   {"app/config.py": settings, **named}, variables or {})  # fmt: skip


def environment(scheme: str, root: Path) -> Address:
    return Address("import os", 'os.environ["DATABASE_URL"]', variables=_url(scheme, root))


def default_in_code(scheme: str, root: Path) -> Address:
    return Address("import os", f'os.getenv("DATABASE_URL", "{scheme}:///./dev.db")')


def settings_field(scheme: str, root: Path) -> Address:
    return _in(f"{SETTINGS}    database_url: str{MADE}", variables=_url(scheme, root))


def settings_parts(scheme: str, root: Path) -> Address:
    text = (
        f'{SETTINGS}    db_file: str\n    db_scheme: str = "{scheme}"\n\n    @property\n'
        '    def database_url(self) -> str:\n        return f"{self.db_scheme}:///{self.db_file}"\n'
    )
    return _in(text + MADE, variables={"DB_FILE": str(root / "dev.db")})


def computed(scheme: str, root: Path) -> Address:
    text = "from pydantic import computed_field\n" + SETTINGS
    text += "    db_file: str\n\n    @computed_field\n    @property\n"
    text += f'    def dsn(self) -> str:\n        return "{scheme}:///" + self.db_file\n'
    return _in(text + MADE, "settings.dsn", variables={"DB_FILE": str(root / "dev.db")})


def cached_function(scheme: str, root: Path) -> Address:
    text = f"from functools import lru_cache\n\n{SETTINGS}    database_url: str\n\n\n@lru_cache\n"
    text += "def get_settings() -> Settings:\n    return Settings()\n"
    return _in(text, "get_settings().database_url", by="get_settings",
               variables=_url(scheme, root))  # fmt: skip


def nested(scheme: str, root: Path) -> Address:
    text = "from pydantic import BaseModel\nfrom pydantic_settings import BaseSettings, "
    text += "SettingsConfigDict\n\n\nclass Database(BaseModel):\n    url: str\n\n\n"
    text += "class Settings(BaseSettings):\n    model_config = SettingsConfigDict("
    text += f'env_nested_delimiter="__")\n\n    db: Database{MADE}'
    return _in(text, "settings.db.url", variables={"DB__URL": _url(scheme, root)["DATABASE_URL"]})


def secret(scheme: str, root: Path) -> Address:
    text = f"from pydantic import SecretStr\n{SETTINGS}    database_url: SecretStr{MADE}"
    return _in(text, "settings.database_url.get_secret_value()", variables=_url(scheme, root))


def url_object(scheme: str, root: Path) -> Address:
    text = f'import os\n\nfrom sqlalchemy import URL\n\nDATABASE_URL = URL.create("{scheme}", '
    return _in(text + 'database=os.environ["DB_FILE"])\n', "DATABASE_URL", by="DATABASE_URL",
               variables={"DB_FILE": str(root / "dev.db")})  # fmt: skip


def dotenv(scheme: str, root: Path) -> Address:
    text = "import os\n\nfrom dotenv import load_dotenv\n\nload_dotenv()\n"
    text += 'DATABASE_URL = os.environ["DATABASE_URL"]\n'
    return _in(text, "DATABASE_URL", by="DATABASE_URL", _DOT_env=_line(scheme, root))


def settings_file(scheme: str, root: Path) -> Address:
    text = SETTINGS.replace("BaseSettings\n", "BaseSettings, SettingsConfigDict\n", 1)
    text += '    model_config = SettingsConfigDict(env_file=".env", extra="ignore")\n\n'
    return _in(f"{text}    database_url: str{MADE}", _DOT_env=_line(scheme, root))


def in_the_ini(scheme: str, root: Path) -> Address:
    return Address("", "config.get_main_option('sqlalchemy.url')",
                   url_in_ini=f"{scheme}:///dev.db")  # fmt: skip


def in_the_ini_here(scheme: str, root: Path) -> Address:
    return Address("", "config.get_main_option('sqlalchemy.url')",
                   url_in_ini=f"{scheme}:///%(here)s/dev.db")  # fmt: skip


def constant(scheme: str, root: Path) -> Address:
    text = f'import os\n\nFILE = os.getenv("DB_FILE", "dev.db")\nSCHEME = "{scheme}"\n'
    text += 'SQLALCHEMY_DATABASE_URL = f"{SCHEME}:///{FILE}"\n'
    return _in(text, "SQLALCHEMY_DATABASE_URL", by="SQLALCHEMY_DATABASE_URL",
               variables={"DB_FILE": str(root / "dev.db")})  # fmt: skip


def class_attribute(scheme: str, root: Path) -> Address:
    text = (
        'import os\n\n\nclass Config:\n    SQLALCHEMY_DATABASE_URI = os.environ["DATABASE_URL"]\n'
    )
    return _in(text, "Config.SQLALCHEMY_DATABASE_URI", by="Config", variables=_url(scheme, root))


def function_with_a_switch(scheme: str, root: Path) -> Address:
    text = "import os\n\n\ndef get_url(with_file: bool = True) -> str:\n"
    text += f'    file = os.environ["DB_FILE"] if with_file else ""\n    return f"{scheme}:///'
    text += '{file}"\n\n\ndef main() -> None:\n    print(get_url(with_file=False))\n'
    return _in(text, "get_url()", by="get_url", variables={"DB_FILE": str(root / "dev.db")})


def toml_file(scheme: str, root: Path) -> Address:
    text = "import tomllib\nfrom pathlib import Path\n\n"
    text += 'SETTINGS = tomllib.loads(Path(__file__).with_name("settings.toml").read_text())\n'
    toml = f'[database]\nurl = "{_url(scheme, root)["DATABASE_URL"]}"\n'
    return _in(text, 'SETTINGS["database"]["url"]', by="SETTINGS", app__settings_DOT_toml=toml)


def dataclass_settings(scheme: str, root: Path) -> Address:
    text = "import os\nfrom dataclasses import dataclass, field\n\n\n@dataclass\nclass Settings:\n"
    text += '    url: str = field(default_factory=lambda: os.environ["DATABASE_URL"])\n'
    return _in(text + MADE, "settings.url", variables=_url(scheme, root))


def by_stage(scheme: str, root: Path) -> Address:
    text = f"import os\n\n{SETTINGS}    database_url: str\n\n\nclass Test(Settings):\n"
    text += '    database_url: str = "sqlite:///test.db"\n\n\n'
    text += 'settings = {"dev": Settings, "test": Test}[os.getenv("STAGE", "dev")]()\n'
    return _in(text, variables=_url(scheme, root))


def replaced_scheme(scheme: str, root: Path) -> Address:
    plain = f"sqlite:///{root / 'dev.db'}"
    text = 'import os\n\nDATABASE_URL = os.environ["DATABASE_URL"]\nURL = DATABASE_URL.replace('
    text += f'"sqlite://", "{scheme}://", 1)\n'
    return _in(text, "URL", by="URL", variables={"DATABASE_URL": plain})


URLS: dict[str, Callable[[str, Path], Address]] = {
    "environment": environment,
    "default in code": default_in_code,
    "settings": settings_field,
    "settings from parts": settings_parts,
    "computed": computed,
    "cached function": cached_function,
    "nested settings": nested,
    "secret": secret,
    "URL object": url_object,
    "dotenv": dotenv,
    "settings of a file": settings_file,
    "ini": in_the_ini,
    "ini, here": in_the_ini_here,
    "constant of parts": constant,
    "class attribute": class_attribute,
    "function with a switch": function_with_a_switch,
    "toml file": toml_file,
    "dataclass": dataclass_settings,
    "by stage": by_stage,
    "scheme replaced": replaced_scheme,
}


def _url(scheme: str, root: Path) -> dict[str, str]:
    return {"DATABASE_URL": f"{scheme}:///{root / 'dev.db'}"}


def _line(scheme: str, root: Path) -> str:
    return f"DATABASE_URL={_url(scheme, root)['DATABASE_URL']}\n"
