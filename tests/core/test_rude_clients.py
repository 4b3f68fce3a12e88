"""Clients that send slowly, too much, or nothing, all at once: whoever behaves is answered all the while."""

import asyncio
import json
import resource
from pathlib import Path

import pytest

from modelapp.testing import AppProject

TOML = """\
[app]
name = "calm"

[models.twice]
source = "handlers.py"
runtime = "null"
[models.twice.null]
scale = 2.0

[endpoints.twice]
model = "twice"
timeout_s = 2
[endpoints.twice.input]
x = "list[float]"
"""
HEAD = b"POST /twice HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
BODY = json.dumps({"x": [1.0]}).encode()
IDLE = 1500


async def good(port: int) -> bytes:
    """The status line of a proper request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY)
    answer = await reader.read()
    writer.close()
    return answer.split(b"\r\n")[0]


async def rude(port: int, start: bytes, drip: bytes = b"", every_s: float = 0.1) -> bytes:
    """What is answered to a client that begins so, and then goes on a little at a time; "" for nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""

    async def send() -> None:
        writer.write(start)
        while drip:
            await asyncio.sleep(every_s)
            writer.write(drip)

    sending = asyncio.create_task(send())
    try:
        answer = await asyncio.wait_for(reader.read(65536), 20)
    except ConnectionError:
        pass
    finally:
        sending.cancel()
        writer.close()
    return answer.split(b"\r\n")[0]


async def crowd(port: int) -> tuple[dict[str, set[bytes]], list[bytes]]:
    """All of them at once, and a hundred good requests meanwhile."""
    kinds = {
        "body a byte at a time": (HEAD + b"content-length: 1000\r\n\r\n", b"x"),
        "chunks a byte at a time": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        "body never": (HEAD + b"content-length: 1000\r\n\r\n", b""),
        "many headers": (HEAD + b"".join(b"x-%d: y\r\n" % number for number in range(150)) + b"\r\n", b""),
        "a megabyte of header": (HEAD + b"x: " + b"a" * 1_000_000, b"a" * 1000),
    }
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(IDLE)]
    dribbling = [asyncio.create_task(rude(port, HEAD, b"x: y\r\n", 0.5)) for _ in range(30)]
    asked = {name: [asyncio.create_task(rude(port, *how)) for _ in range(30)] for name, how in kinds.items()}
    statuses = []
    for _ in range(100):
        statuses.append(await good(port))
        await asyncio.sleep(0.02)
    answers = {name: set(await asyncio.gather(*tasks)) for name, tasks in asked.items()}
    statuses.append(await good(port))
    for task in dribbling:
        task.cancel()
    await asyncio.gather(*dribbling, return_exceptions=True)
    for _, writer in idle:
        writer.close()
    return answers, statuses


@pytest.mark.slow
def test_the_rude_keep_nobody_from_being_answered(tmp_path: Path) -> None:
    """Each gets its own refusal; thousands of silent connections take nothing from anybody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + 500
    if hard < wanted:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    project = AppProject(tmp_path / "app").write(TOML, {"handlers.py": ""})
    with project.serve() as app:
        answers, statuses = asyncio.run(crowd(app.port))
    assert set(statuses) == {b"HTTP/1.1 200 OK"}
    slow = b"HTTP/1.1 408 Request Timeout"
    assert answers["body a byte at a time"] == answers["chunks a byte at a time"] == answers["body never"] == {slow}
    assert answers["many headers"] == {b"HTTP/1.1 431 Request Header Fields Too Large"}
    assert answers["a megabyte of header"] <= {b"HTTP/1.1 431 Request Header Fields Too Large", b""}
