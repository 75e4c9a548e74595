"""A replica for bench.client_real: answers each line with the same line, after some milliseconds, and logs what it did.

    python -m bench.replica ADDRESS PORT LOG MILLISECONDS

The log has a line for each request that was processed, written before it is answered. SIGTERM: stops listening at once,
finishes what it works on, closes connections on which nothing is under way, and ends. Not here: who asks.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys


class Replica:
    """One server process."""

    def __init__(self, log: int, seconds: float) -> None:
        self._log = log
        self._seconds = seconds
        self._is_ending = False
        self._idle: set[asyncio.StreamWriter] = set()
        self._open = 0
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._open += 1
        try:
            while not self._is_ending:
                self._idle.add(writer)
                line = await reader.readline()
                self._idle.discard(writer)
                if not line:
                    return
                os.write(self._log, line)
                await asyncio.sleep(self._seconds)
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            self._idle.discard(writer)
            self._open -= 1
            writer.close()
            if self._is_ending and not self._open:
                self.ended.set()

    def end(self, server: asyncio.Server) -> None:
        """SIGTERM."""
        self._is_ending = True
        server.close()
        for writer in self._idle:
            writer.close()
        if not self._open:
            self.ended.set()


async def main(address: str, port: int, path: str, milliseconds: float) -> None:
    """Serve until SIGTERM."""
    replica = Replica(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), milliseconds / 1000)
    server = await asyncio.start_server(replica.serve, address, port, backlog=512)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, replica.end, server)
    await replica.ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])))
