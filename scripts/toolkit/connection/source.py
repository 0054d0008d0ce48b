"""Where the URL comes from: a variable, standard input, or the project's own settings."""

import ast
import contextlib
import getpass
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.connection.steps import Layer, stop
from toolkit.database.folders import own_folder
from toolkit.database.urls import child_environment
from toolkit.fence.environment import fenced, without_toolkit
from toolkit.fence.process import run_worker
from toolkit.files.reading import text_of
from toolkit.project.facts import Project, UrlSource
from toolkit.project.imports import parse
from toolkit.report.exits import Exit
from toolkit.report.masking import mask, secrets_of
from toolkit.report.quoting import word

MASKED = re.compile(r"://[^@/]*:(?:\*+|[xX]{3,}|<[^>]*>|%2A+|\[?hidden\]?|redacted)@")
TOO_LONG = "Timeout: "
WORKER = Path(__file__).with_name("source_worker.py")
ENV_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$", re.MULTILINE)
USUAL = "DATABASE_URL"
"""The variable that counts where no option and nothing in a project names another."""
FOR_TESTS = re.compile(r"(?:^|_|\W)test", re.IGNORECASE)


@dataclass(frozen=True)
class Given:
    """A URL and where it was found. `text` has the password."""

    text: str
    origin: str
    evidence: tuple[str, ...] = ()


def from_variable(name: str, project: Project | None) -> Given:
    """The URL in an environment variable. Raises Broken."""
    value = os.environ.get(name)
    if value is None and project is not None:
        in_file = env_file_value(project, name)
        if in_file is not None:
            return Given(unquoted(in_file[0]), f"{name} in {in_file[1]}")
    if not value:
        stop(
            Layer.SOURCE,
            f"The environment variable {name} is {'not set' if value is None else 'empty'}.",
            f"Set it where this runs: read -rs {word(name)} && export {word(name)}",
        )
    return Given(value, f"the environment variable {name}")


def from_stdin() -> Given:
    """The URL that somebody pastes, without echo, or that a program writes. Raises Broken."""
    if sys.stdin.isatty():
        text = getpass.getpass("database URL (it is not shown): ")
    else:
        text = next((line for line in sys.stdin if line.strip()), "")
    # What is pasted often comes with its quotes or with its variable.
    text = unquoted(re.sub(r"^\s*(?:export\s+)?\w+=", "", text).strip())
    if not text:
        stop(Layer.SOURCE, "Standard input has no URL.", "Paste it after the prompt, or pipe it.")
    return Given(text, "standard input")


def from_project(project: Project, url_from: str | None, seconds: float) -> Given:
    """The URL that the project itself would use. Raises Broken."""
    if not project.urls and (os.environ.get(USUAL) or env_file_value(project, USUAL)):
        return from_variable(USUAL, project)  # as setup-alembic.sh takes it (#16)
    sources = list(project.urls[:1] if url_from else project.urls)
    if not all(FOR_TESTS.search(source.reference) for source in sources):
        sources = [
            one for one in sources if one.kind == "literal" or not FOR_TESTS.search(one.reference)
        ]
    values, failures = resolve(project, sources, seconds)
    found = [source for source in sources if values.get(source.reference)]
    # A literal beside others is their default, which is not in use.
    chosen = [source for source in found if source.kind != "literal"]
    chosen = chosen or [source for source in found if not stands_in(source, sources)]
    if not chosen:
        nothing_found(project, sources, failures)
    # A part of a URL, or one with its password masked to be shown, is no other database (#12).
    chosen = [one for one in chosen if is_whole(values[one.reference])] or chosen
    # What no engine and no env.py takes may be a part of a choice, whose result they take.
    chosen = [one for one in chosen if one.in_use] or chosen
    distinct: dict[str, UrlSource] = {}
    for source in chosen:
        distinct.setdefault(address_of(values[source.reference]), source)
    if len(distinct) > 1:
        stop(
            Layer.SOURCE,
            "The project names several databases: "
            + ", ".join(argument_for(source, project) for source in distinct.values())
            + ".",
            "Say which is meant: --url-from "
            + word(argument_for(next(iter(distinct.values())), project)),
            code=Exit.AMBIGUOUS,
        )
    best = chosen[0]
    return Given(values[best.reference], words_for(best, project))


def is_whole(text: str) -> bool:
    """With its scheme, and with a password that is one."""
    scheme, found, _ = text.partition("://")
    return bool(found and scheme) and not MASKED.search(text)


def stands_in(literal: UrlSource, sources: Sequence[UrlSource]) -> bool:
    """Is it what is left where a better source, written elsewhere, has no value?

    Then the failure of that source is the answer: a helper's URL is not the application's (#12).
    """
    better = sources[: sources.index(literal)]
    return any(one.kind != "literal" and one.path != literal.path for one in better)


def resolve(
    project: Project, sources: Sequence[UrlSource], seconds: float
) -> tuple[dict[str, str], dict[str, str]]:
    """The texts behind `sources`, and why others have none; both by reference."""
    values: dict[str, str] = {}
    failures: dict[str, str] = {}
    in_modules = []
    for source in sources:
        if source.kind == "environment":
            name = source.reference.removeprefix("env:")
            from_file = env_file_value(project, name)
            value = os.environ.get(name) or (unquoted(from_file[0]) if from_file else "")
            values[source.reference] = value
            if not value:
                failures[source.reference] = f"{name} is not set"
        elif source.kind == "literal":
            values[source.reference] = literal_at(source)
        else:
            in_modules.append(source.reference)
    if in_modules:
        for reference, answer in evaluate(project, in_modules, seconds).items():
            if "value" in answer:
                values[reference] = answer["value"]
            else:
                secrets = secrets_of(os.environ)
                failures[reference] = mask(f"{answer['type']}: {answer['message']}", secrets)
    return values, failures


def evaluate(
    project: Project, references: Sequence[str], seconds: float
) -> Mapping[str, Mapping[str, str]]:
    """What the project's modules say, in a process of its own; `{}` when it does not end."""
    with own_folder() as folder:
        return answers_from(project, references, seconds, folder)


def engines_of(project: Project, modules: Sequence[str], seconds: float) -> Mapping[str, str]:
    """The pools that these modules make, as JSON under "value"; or why that is not known."""
    with own_folder() as folder:
        return answers_from(project, (), seconds, folder, modules)["engines"]


def answers_from(
    project: Project,
    references: Sequence[str],
    seconds: float,
    folder: Path,
    engines: Sequence[str] = (),
) -> Mapping[str, Mapping[str, str]]:
    # The addresses are what is asked for, so the environment has them: only the fence
    # keeps the project's modules from going there.
    environment = without_toolkit(child_environment({}))
    order = fenced(project.root, folder, {}, look=True).order
    request = {
        "root": str(project.root),
        "import_root": str(project.import_root),
        "references": list(references),
        "engines": list(engines),
        "fence": order,
    }
    environment |= {"TMPDIR": str(folder / "tmp")}
    code, text = run_worker(WORKER, request, environment, project.root, seconds)
    if code is None:
        failure = {"type": "Timeout", "message": f"importing took longer than {seconds:g} s"}
        return dict.fromkeys((*references, "engines"), failure)
    if not text:
        failure = {"type": "Ended", "message": "the importing process ended without an answer"}
        return dict.fromkeys((*references, "engines"), failure)
    answers: dict[str, dict[str, str]] = json.loads(text)
    return answers


def nothing_found(
    project: Project, sources: Sequence[UrlSource], failures: Mapping[str, str]
) -> None:
    """Raise Broken: no source has a value."""
    evidence = [
        f"{argument_for(source, project)}: {failures.get(source.reference, 'empty')}"
        for source in sources
    ]
    if not sources:
        stop(
            Layer.SOURCE,
            "Nothing in the project names a database URL.",
            "Name the variable with --url-env NAME, or --url-from MODULE:EXPRESSION.",
            project.notes,
        )
    if any(text.startswith(TOO_LONG) for text in failures.values()):
        stop(
            Layer.SOURCE,
            "The project's settings took too long to import.",
            "Give it more time with --timeout, or name a variable with --url-env NAME.",
            evidence,
            code=Exit.NETWORK,
        )
    names = [one.reference.removeprefix("env:") for one in sources if one.kind == "environment"]
    stop(
        Layer.SOURCE,
        "The project's database URL has no value here.",
        f"Set {names[0]} where this runs, or in {project.root / '.env'}."
        if names
        else "Repair what the lines above say, or name a variable with --url-env NAME.",
        evidence,
    )


def env_file_value(project: Project, name: str) -> tuple[str, str] | None:
    """The value of `name` in a `.env` of the project, and the file."""
    for folder in dict.fromkeys([project.root, project.import_root]):
        path = folder / ".env"
        if path.is_file():
            found = dict(ENV_LINE.findall(text_of(path)))
            if name in found:
                return found[name], shown(path, project)
    return None


def unquoted(text: str) -> str:
    """The value as python-dotenv reads it: what follows a closing quote or ` #` is a comment."""
    text = text.strip()
    if text[:1] in ("'", '"') and (end := text.find(text[0], 1)) > 0:
        return text[1:end]
    return re.split(r"\s#", text, maxsplit=1)[0].rstrip()


def literal_at(source: UrlSource) -> str:
    """The URL that stands at a line of the source."""
    if source.path is None:
        return ""
    with contextlib.suppress(OSError, SyntaxError):
        for node in parse(source.path, "").nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                last = node.end_lineno or node.lineno
                if node.lineno <= source.line <= last and "://" in node.value:
                    return node.value
    return ""


def address_of(url: str) -> str:
    """A URL without driver, password and parameters: two of one database are equal."""
    scheme, _, rest = url.partition("://")
    user, at, place = rest.partition("?")[0].rpartition("@")
    return f"{scheme.partition('+')[0].replace('ql', '')}://{user.partition(':')[0]}{at}{place}"


def argument_for(source: UrlSource, project: Project) -> str:
    """What `--url-from` takes for it; a literal has only its place."""
    if source.kind == "literal" and source.path is not None:
        return f"{shown(source.path, project)}:{source.line}"
    return source.reference


def words_for(source: UrlSource, project: Project) -> str:
    if source.kind == "environment":
        name = source.reference.removeprefix("env:")
        if os.environ.get(name):
            return f"the environment variable {name}, which the project reads"
        in_file = env_file_value(project, name)
        return f"{name} in {in_file[1]}" if in_file else name
    if source.kind == "literal":
        return f"written in {argument_for(source, project)}"
    return f"the project's {source.reference}"


def shown(path: Path, project: Project) -> str:
    inside = path.is_relative_to(project.root)
    return str(path.relative_to(project.root)) if inside else str(path)
