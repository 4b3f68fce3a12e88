"""HTTP/1.1 by hand: a client that can leave, drip and count what other clients hide."""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

import attrs

_LIMIT = 2**20
JSON = {"Content-Type": "application/json"}


@attrs.frozen
class Reply:
    """An answer, or why there was none: status 0 and `lost` (refused, reset, cut, timeout)."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.Factory(dict)
    seconds: float = 0.0
    lost: str = ""

    def __str__(self) -> str:
        return str(self.status) if self.status else self.lost

    @property
    def text(self) -> str:
        """The start of the body."""
        return self.body[:200].decode("utf-8", "replace")

    def json(self) -> Any:
        """The decoded body, None where it is no JSON."""
        with contextlib.suppress(ValueError):
            return json.loads(self.body)
        return None


class Connection:
    """One connection to 127.0.0.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect. Raises OSError."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=_LIMIT))

    @property
    def gone(self) -> bool:
        """Whether the server is known to have closed it."""
        return self.reader.at_eof() or self.writer.is_closing()

    async def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = JSON) -> None:
        """Send a request. Raises OSError."""
        head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await self.writer.drain()

    async def receive(self) -> Reply:
        """Read the answer. Raises OSError, IncompleteReadError and ValueError where there is none."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
        if status == 100:
            return await self.receive()
        if "chunked" in headers.get("transfer-encoding", ""):
            body = await self._chunks()
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return Reply(status, body, headers)

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return b"".join(parts)

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = JSON, timeout_s: float = 30
    ) -> Reply:
        """Send and receive; never raises for what the server does."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                # Who refuses a large body answers and closes before it is sent: look for the answer all the same.
                with contextlib.suppress(OSError):
                    await self.send(method, path, body, headers)
                reply = await self.receive()
        except TimeoutError:
            return Reply(0, lost="timeout", seconds=time.monotonic() - started)
        except asyncio.IncompleteReadError as error:
            lost = "cut" if error.partial else "closed without an answer"
            return Reply(0, lost=lost, seconds=time.monotonic() - started)
        except (OSError, ValueError, asyncio.LimitOverrunError) as error:
            lost = "reset" if isinstance(error, OSError) else f"no HTTP: {error}"
            return Reply(0, lost=lost, seconds=time.monotonic() - started)
        return attrs.evolve(reply, seconds=time.monotonic() - started)

    def close(self) -> None:
        """Leave at once."""
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.transport.abort()


async def ask(
    port: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = JSON, timeout_s: float = 30
) -> Reply:
    """One request on a connection of its own; never raises for what the server does."""
    try:
        async with asyncio.timeout(timeout_s):
            connection = await Connection.open(port)
    except TimeoutError:
        return Reply(0, lost="timeout", seconds=timeout_s)
    except OSError:
        return Reply(0, lost="refused")
    try:
        return await connection.ask(method, path, body, headers, timeout_s)
    finally:
        connection.close()
