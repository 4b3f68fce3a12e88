"""Load by wrk, and servers started, checked and ended around it."""

import contextlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from models import Case
from systems import System

START_S = 90.0
_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
%s
local file = io.open("%s", "rb")
wrk.body = file:read("*a")
file:close()
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@attrs.frozen
class Measured:
    """One load. Latencies in milliseconds; `failed` counts answers that were no 2xx and connections that broke."""

    connections: int
    per_s: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int


def need_wrk() -> None:
    """End with a hint where wrk is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install -y wrk")


def free_port() -> int:
    """A port nobody listens on, nor on the next one."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                two.bind(("127.0.0.1", port + 1))
                return port


def wrk(url: str, body: bytes, connections: int, seconds: float, headers: Mapping[str, str] | None = None) -> Measured:
    """Closed-loop load from one thread of wrk: each connection sends the next request when the last is answered."""
    with tempfile.TemporaryDirectory() as folder:
        request, script = Path(folder) / "body", Path(folder) / "post.lua"
        request.write_bytes(body)
        more = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in (headers or {}).items())
        script.write_text(_SCRIPT % (more, request))
        words = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{math.ceil(seconds)}s",
            "--timeout",
            "60s",
            "-s",
            str(script),
            url,
        ]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    requests, duration_us, p50_us, p99_us, _, status, broken = map(int, line.split()[1:])
    return Measured(connections, requests / duration_us * 1e6, p50_us / 1e3, p99_us / 1e3, requests, status + broken)


def ask(url: str, body: bytes, timeout_s: float = 30.0) -> object:
    """One POST; the decoded JSON answer. Raises URLError and its kin."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return json.load(answer)


@contextlib.contextmanager
def serving(system: System, case: Case, log: Path) -> Iterator[str]:
    """The URL of a running server that has given the right answer once; every process of it is ended afterwards."""
    port = free_port()
    process = system.start(case, port, log)
    try:
        url = system.url(port, case)
        _wait_right(system, case, url, process, log)
        yield url
    finally:
        end(process)


def _wait_right(system: System, case: Case, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_S
    while True:
        if process.poll() is not None:
            raise SystemExit(f"{system.name} ended with {process.returncode}; see {log}")
        try:
            answer = ask(url, system.body(case))
            break
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > until:
                raise SystemExit(f"{system.name} does not answer ({error}); see {log}") from error
            time.sleep(0.1)
    got, wanted = system.row(answer), case.answer()
    if len(got) != len(wanted) or any(abs(left - right) > 1e-3 for left, right in zip(got, wanted, strict=True)):
        raise SystemExit(f"{system.name} answers {got[:4]}..., not {wanted[:4]}...")


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the server to end, then end its whole session: some leave children behind."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
