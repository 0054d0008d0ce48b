"""Start a worker, a program of ours that imports a project behind the fence, and see it end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def run_worker(
    worker: Path,
    request: Mapping[str, Any],
    environment: Mapping[str, str],
    folder: Path,
    timeout: float,
) -> tuple[int | None, str]:
    """Its exit code, None when it took longer than `timeout` s; and what it answered.

    Standard output is for the answer: what the project prints goes elsewhere. When this
    ends, the process and its children are gone.
    """
    theirs, ours = os.pipe()
    order = {**request["fence"], "lifeline": theirs}
    process = subprocess.Popen(
        # Neither the worker's folder nor PYTHONPATH is where this interpreter looks for what
        # it needs itself; the worker adds the latter for the project.
        [sys.executable, "-E", "-P", str(worker)],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(theirs,),
        start_new_session=True,
        text=True,
    )
    try:
        said, _ = process.communicate(json.dumps({**request, "fence": order}), timeout=timeout)
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        # The whole group, also after success: the project may have left children.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        os.close(theirs)
        os.close(ours)
    return process.returncode, said
