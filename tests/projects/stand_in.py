"""Stands for an interpreter: has the program run by the server of `warm`, as this process.

Started as `python -S -E stand_in.py SOCKET PROGRAM ARGUMENT...`, so that it imports little.
"""

# The modules below `signal` and `socket`: those import much more than the rest of this takes.
import _signal as signal
import _socket as socket
import marshal
import os
import sys

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)


# What Python itself reads when it starts.
EARLY = {"PYTHONSAFEPATH", "PYTHONOPTIMIZE", "PYTHONHASHSEED", "PYTHONHOME"}


def main(address: str, program: str, arguments: list[str]) -> int:
    order = {
        "cwd": os.getcwd(),  # noqa: PTH109  (started without pathlib)
        "environment": dict(os.environ),
        "warnings": "default",
    }
    if program != sys.executable:
        arguments = [program, *arguments]
    if arguments[:1] == ["-W"]:
        order["warnings"], *arguments = arguments[1:]
    if arguments[:1] == ["-u"]:  # as pytest-xdist starts its workers
        order["environment"]["PYTHONUNBUFFERED"] = "1"
        arguments = arguments[1:]
    # The doors' and workers': they matter for what is in EARLY, with which nothing is warm.
    while arguments[:1] in (["-I"], ["-B"], ["-E"]):
        arguments = arguments[1:]
    if arguments[:1] == ["-P"]:
        order["safe_path"], *arguments = arguments
    order["arguments"] = arguments
    plain = arguments and (not arguments[0].startswith("-") or arguments[0] in {"-m", "-c"})
    if not plain or EARLY & os.environ.keys() or not warm_path():
        os.execv(program, [program, *sys.argv[3:]])
    order["descriptors"] = [0, 1, 2, *passed()]
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    for name in FORWARDED:
        signal.signal(name, lambda number, _frame: server.send(bytes([number])))
    text = marshal.dumps(order)
    descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in order["descriptors"])
    server.sendmsg([b"%12d" % len(text)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
    server.sendall(text)
    answer = b""
    while not answer.endswith(b"\n"):
        answer += (more := server.recv(64))
        if not more:
            return 1
    status = int(answer)
    if status < 0:  # as the program did, so that whoever waits sees the same signal
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def warm_path() -> bool:
    """Is PYTHONPATH empty, or the folder of the capture alone, which `warm` knows to begin with?"""
    path = os.environ.get("PYTHONPATH", "")
    return not path or os.path.isdir(f"{path}/_query_capture")  # noqa: PTH112


def passed() -> list[int]:
    """What else is open here was given by who started this, as `pass_fds` gives a pipe."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        number = int(name)
        if number > 2 and os.path.exists(f"/proc/self/fd/{number}"):  # noqa: PTH110
            found.append(number)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
