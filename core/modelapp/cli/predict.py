"""`modelapp predict`: one call."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from modelapp.cli.answering import replica
from modelapp.cli.console import Console
from modelapp.cli.inputs import choose_endpoint, read_inputs, split_words
from modelapp.cli.opening import open_app
from modelapp.client import Answer, Client, timings
from modelapp.matchers import error_text
from modelapp.verdicts import EXIT_STATUS


def run(options: argparse.Namespace, console: Console) -> int:
    """Call an endpoint of the running app, or of one started for the call, and print the answer."""
    opened = open_app(options, console)
    name, words = split_words(options.words)
    endpoint = choose_endpoint(opened.app, name)
    values = read_inputs(endpoint, words, Path.cwd())
    with replica(opened, console, same_release=False) as found, Client(found.url, found.token) as client:
        answer = client.call(endpoint, values)
    if console.json:
        console.document(_document(endpoint.name, answer))
    if answer.ok:
        console.result(answer.text)
        console.note(_times(answer))
        return EXIT_STATUS["pass"]
    console.error(_refusal(answer))
    return EXIT_STATUS["fail"]


def _document(endpoint: str, answer: Answer) -> dict[str, object]:
    return {
        "endpoint": endpoint,
        "status": answer.status,
        "answer" if answer.ok else "error": answer.body,
        "release": answer.release,
        "request_id": answer.headers.get("x-request-id", ""),
        "ms": round(answer.ms, 3),
        "timings_ms": timings(answer),
    }


def _refusal(answer: Answer) -> str:
    error = answer.body.get("error") if isinstance(answer.body, Mapping) else None
    if isinstance(error, Mapping) and {"code", "message"} <= set(error):
        return f"{answer.status} {error['code']}: {error['message']}"
    return f"{answer.status} {error_text(answer.body)}"


def _times(answer: Answer) -> str:
    parts = [f"{name} {ms:.1f} ms" for name, ms in timings(answer).items() if name != "total"]
    return ", ".join([f"total {answer.ms:.1f} ms", *parts])
