"""The way between an application and its server, which can be made bad."""

import asyncio
import socket
import struct
from contextlib import suppress

RESET = struct.pack("ii", 1, 0)  # SO_LINGER that makes a close a reset


class Proxy:
    """A TCP proxy that can swallow everything, delay it, or cut its connections."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.swallow = False
        """As a firewall that forgot a connection: what was open meanwhile stays dead after it."""
        self.latency = 0.0
        """Seconds, each way."""
        self.commits_to_cut = 0
        """Of as many of the next COMMITs the server gets the word and the client no answer."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Proxy":
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def reset(self, share: float = 1.0) -> int:
        """Reset the connections, or the oldest `share` of them; how many."""
        chosen = sorted(self.writers, key=id)[: round(len(self.writers) * share)]
        for writer in chosen:
            cut(writer)
        return len(chosen)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.target)
        except OSError:
            cut(writer)  # the server is down: as near to a refusal as it gets from here
            return
        self.writers.add(writer)
        doomed = asyncio.Event()
        for source, sink in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.create_task(self.pump(source, sink, writer, doomed))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        doomed: asyncio.Event,
    ) -> None:
        from_client, lost = sink is not client, False
        try:
            while data := await source.read(65536):
                lost = lost or self.swallow
                if lost:
                    continue
                if from_client and self.commits_to_cut and is_commit(data):
                    self.commits_to_cut -= 1
                    doomed.set()
                elif not from_client and doomed.is_set():
                    cut(client)  # the server has answered, and so it is done
                    return
                if self.latency:
                    await asyncio.sleep(self.latency)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # reset by either side: so is the other, below
        finally:
            self.writers.discard(client)
            sink.close()


def is_commit(data: bytes) -> bool:
    """PostgreSQL's simple query and MySQL's; theirs is the only word in the packet."""
    return b"COMMIT" in data[:16]


def cut(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
