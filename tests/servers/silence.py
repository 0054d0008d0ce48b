"""A server that falls silent, as behind a firewall that drops, or frozen."""

import asyncio


class Proxy:
    """A TCP proxy that can swallow everything, as a firewall that forgot a connection."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.swallow = False
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Proxy":
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        swallowed = self.swallow
        up_reader, up_writer = await asyncio.open_connection(*self.target)
        self.swallow = swallowed
        for source, sink in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.create_task(self.pump(source, sink))
            self.tasks.add(task)

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        lost = False
        try:
            while data := await source.read(65536):
                lost = lost or self.swallow
                if not lost:
                    sink.write(data)
                    await sink.drain()
        finally:
            sink.close()
