"""Sends requests to an ASGI application in its own process, without a server or a client.

Run by path with the file of the job, which is JSON: `app` (`module:attribute`), `paths` (for
sys.path), `requests` (`[method, target, headers, body]`, or null), `headers` (for all that are not
listed), `overrides` (`module:attribute` or null), `answers` (the file to append a JSON line to for
each: `[status, error]`).
"""

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

Message = dict[str, Any]
Foreign: TypeAlias = Any
"""What belongs to the application."""


class CannotStart(Exception):
    """The application is not there, or its lifespan says no."""


def load(reference: str) -> Foreign:
    """The application of `module:attribute`; a function without arguments makes it."""
    module, _, name = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in (name or "app").split("."):
        if not hasattr(found, part):
            raise CannotStart(f"{module} has no {name or 'app'}")
        found = getattr(found, part)
    if not callable(found):
        raise CannotStart(f"{reference} is no application")
    return found() if is_factory(found) else found


def override(app: Foreign, reference: str) -> None:
    """Replace dependencies, as a test-suite does to be signed in."""
    module, _, name = reference.partition(":")
    given = getattr(importlib.import_module(module), name or "dependency_overrides", None)
    if not isinstance(given, Mapping):
        raise CannotStart(f"{module} has no dictionary {name or 'dependency_overrides'}")
    if not hasattr(app, "dependency_overrides"):
        raise CannotStart("the application is wrapped: name the FastAPI object with --app")
    app.dependency_overrides.update(given)


def is_factory(found: Callable[..., Any]) -> bool:
    """Does it make an application, where an application takes scope, receive and send?"""
    if not (inspect.isfunction(found) or inspect.isclass(found)):
        return False
    needed = [
        one
        for one in inspect.signature(found).parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    return not needed


class Lifespan:
    """Start and stop of the application, in a task of their own as a server has it."""

    def __init__(self, app: Foreign) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self.to_app: asyncio.Queue[Message] = asyncio.Queue()
        self.from_app: asyncio.Queue[Message] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
        try:
            await self.app(scope, self.to_app.get, self.from_app.put)
        except Exception as error:
            # Servers take this for an application without a lifespan, unless it had begun.
            await self.from_app.put({"type": "lifespan.unsupported", "error": error})
        else:
            await self.from_app.put({"type": "lifespan.unsupported"})

    async def start(self) -> None:
        self.task = asyncio.create_task(self.run())
        await self.to_app.put({"type": "lifespan.startup"})
        answer = await self.from_app.get()
        if answer["type"] == "lifespan.startup.failed":
            raise CannotStart("the application's start-up failed")

    async def stop(self) -> None:
        if self.task is not None and not self.task.done():
            await self.to_app.put({"type": "lifespan.shutdown"})
            await self.task


class Client:
    """Sends one request after the other and keeps cookies."""

    def __init__(self, app: Foreign, state: dict[str, Any]) -> None:
        self.app = app
        self.state = state
        self.cookies: dict[str, str] = {}

    async def send(
        self, method: str, target: str, headers: list[list[str]], body: str
    ) -> tuple[int | None, str | None]:
        """Status of the answer, and the type of the exception that came out."""
        content = body.encode()
        done = asyncio.Event()
        waiting = [{"type": "http.request", "body": content, "more_body": False}]
        status: list[int] = []

        async def receive() -> Message:
            if waiting:
                return waiting.pop()
            await done.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
                self.keep_cookies(message.get("headers", ()))
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                done.set()

        error = None
        try:
            await self.app(self.scope(method, target, headers, content), receive, send)
        except Exception as raised:
            error = type(raised).__name__
        return (status[0] if status else None), error

    def scope(self, method: str, target: str, headers: list[list[str]], body: bytes) -> Message:
        path, _, query = target.partition("?")
        given = {name.lower() for name, _ in headers}
        sent = [(name.lower().encode(), value.encode()) for name, value in headers]
        if "host" not in given:
            sent.insert(0, (b"host", b"localhost"))
        if body:
            sent.append((b"content-length", str(len(body)).encode()))
        if self.cookies and "cookie" not in given:
            text = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            sent.append((b"cookie", text.encode()))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": sent,
            "client": ("127.0.0.1", 50000),
            "server": ("localhost", 80),
            "state": dict(self.state),
        }

    def keep_cookies(self, headers: Foreign) -> None:
        for name, value in headers:
            if bytes(name).lower() != b"set-cookie":
                continue
            try:
                found = SimpleCookie(bytes(value).decode("latin-1"))
            except CookieError:
                continue
            for key, morsel in found.items():
                if morsel["max-age"] == "0" or not morsel.value:
                    self.cookies.pop(key, None)
                else:
                    self.cookies[key] = morsel.coded_value


async def replay(job: dict[str, Any]) -> None:
    served = load(job["app"])
    if job["overrides"]:
        override(served, job["overrides"])
    try:
        # Applications that are not Starlette's have requests, too.
        watch = importlib.import_module("_query_capture.asgi").watch
    except ImportError:
        app = served
    else:

        async def app(scope: Message, receive: Foreign, send: Foreign) -> None:
            await watch(served, scope, receive, send)

    lifespan = Lifespan(app)
    await lifespan.start()
    client = Client(app, lifespan.state)
    answers = await asyncio.to_thread(Path(job["answers"]).open, "a", encoding="utf-8")
    with answers:
        for request in job["requests"] or plain_gets(served, job["headers"]):
            # A task for each: what a request leaves in its context ends with it.
            answer = await asyncio.create_task(client.send(*request))
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    await lifespan.stop()


def plain_gets(served: Foreign, headers: list[list[str]]) -> list[list[Any]]:
    """Requests for what the OpenAPI document offers without a value that is needed."""
    if not hasattr(served, "openapi"):
        raise CannotStart("the application has no OpenAPI document: name the requests in a file")
    return [
        ["GET", path, headers, ""]
        for path, methods in served.openapi()["paths"].items()
        if "get" in methods
        and "{" not in path
        and not any(one.get("required") for one in methods["get"].get("parameters", ()))
    ]


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.argv = ["replay"]
    sys.path[:0] = job["paths"]
    try:
        asyncio.run(replay(job))
    except CannotStart as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
