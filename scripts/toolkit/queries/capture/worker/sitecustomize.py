"""Starts the capture in every Python process below the command that is watched.

Python imports the first `sitecustomize` on its path at start. This folder is first, so the
one that the environment or the project has is found behind it and run as well.
"""

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run_the_other() -> None:
    """Run the next `sitecustomize` on the path under its own name, as if this one were not."""
    spec = PathFinder.find_spec("sitecustomize")  # `start` has taken this folder off the path
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def start() -> None:
    capture = import_module("_query_capture")
    # The project's modules must not meet ours.
    sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != HERE]
    capture.start(HERE)


start()
run_the_other()
