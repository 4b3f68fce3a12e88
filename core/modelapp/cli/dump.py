"""`modelapp dump`: what every thread of the running app is doing."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from modelapp.cli.console import Console
from modelapp.cli.opening import FILE
from modelapp.errors import SurroundingsError
from modelapp.inspection import Inspected, Thread, inspect, replicas


def run(options: argparse.Namespace, console: Console) -> int:
    """Print the stacks of each replica of this folder's app, and the requests it has in hand if its loop turns."""
    file = options.directory / FILE
    pids = replicas(file)
    if not pids:
        raise SurroundingsError(f"nothing serves {file} on this machine", help="modelapp run serves it")
    found = [inspect(pid) for pid in pids]
    if console.json:
        console.document({"replicas": [_document(one) for one in found]})
    for one in found:
        for line in _lines(one):
            console.result(line)
    return 0


def _document(found: Inspected) -> dict[str, Any]:
    threads = [attrs.asdict(thread) for thread in found.threads]
    return {"pid": found.pid, "loop": _loop(found), "threads": threads, **(found.account or {})}


def _loop(found: Inspected) -> str:
    if found.account is not None:
        return "turns"
    return "held" if found.begun else "not begun"


def _lines(found: Inspected) -> Iterator[str]:
    account = found.account
    if not found.begun:
        yield f"replica {found.pid}   starting: its event loop has not begun"
    elif account is None:
        yield f"replica {found.pid}   its event loop does not turn: nobody is answered"
    else:
        reason = f" ({account['reason']})" if account["reason"] else ""
        requests = account["requests"]
        yield f"replica {found.pid}   {account['state']}{reason}   release {account['release']}"
        yield f"{len(requests)} requests in progress, {account['tasks']} tasks on the event loop"
        for request in requests:
            yield from _request(request)
    for thread in found.threads:
        yield from _thread(thread)


def _request(request: Mapping[str, Any]) -> Iterator[str]:
    whose = request["endpoint"] or request["model"] or "-"
    left = ", its client has left" if request["left"] else ""
    yield f"request {request['id']}   {request['protocol']} {whose}   for {request['seconds']:.1f} s{left}"
    for place in request["waits_in"]:
        yield f"  {place['file']}:{place['line']} in {place['function']}"


def _thread(thread: Thread) -> Iterator[str]:
    yield f"thread {thread.name or thread.id}" + (f" ({thread.id})" if thread.name else "")
    for frame in thread.frames:
        yield f"  {frame.file}:{frame.line} in {frame.function}"
    if not thread.frames:
        yield "  no Python code"
