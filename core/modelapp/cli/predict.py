"""`modelapp predict`: one call."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from modelapp import tls
from modelapp.app import AppTest
from modelapp.cli.answering import replica
from modelapp.cli.console import Console
from modelapp.cli.inputs import choose_endpoint, read_inputs, split_words
from modelapp.cli.locked import verify
from modelapp.cli.opening import Opened, open_app
from modelapp.cli.recording import Report, finish, recorder, refuse_in_ci
from modelapp.client import Answer, Client, timings
from modelapp.errors import UsageError
from modelapp.matchers import error_text
from modelapp.recording import Unrecordable
from modelapp.verdicts import EXIT_STATUS


def run(options: argparse.Namespace, console: Console) -> int:
    """Call an endpoint of the running app, or of one started for the call, and print the answer."""
    if options.save_as:
        refuse_in_ci("--save-as")
    opened = open_app(options, console)
    if any(test.name == options.save_as for test in opened.app.tests):
        raise UsageError(f'there is a test "{options.save_as}" already', help="choose another name")
    verify(opened, options, console, tell=False)
    name, words = split_words(options.words)
    endpoint = choose_endpoint(opened.app, name)
    values = read_inputs(endpoint, words, Path.cwd())
    report = Report()
    with (
        replica(opened, console, same_release=bool(options.save_as)) as found,
        Client(found.url, found.token, root=opened.app.root, certificate=tls.certificate(opened.app)) as client,
    ):
        live = Live(console) if endpoint.stream and _is_watched(console) and not options.save_as else None
        answer = client.call(endpoint, values, tell=live.tell if live else None)
        if answer.ok and options.save_as:
            report = _save(opened, client, AppTest(name=options.save_as, endpoint=endpoint.name, input=values), console)
    if console.json:
        more = {"recording": report.document()} if options.save_as else {}
        console.document({**_document(endpoint.name, answer), **more})
    if answer.ok:
        console.result(live.rest(answer) if live else answer.text)
        console.note(_times(answer))
        return EXIT_STATUS["inconclusive" if report.refused else "pass"]
    if live is not None and live.begun:
        console.result("")
    console.error(_refusal(answer))
    if options.save_as:
        console.error(f'test "{options.save_as}" was not written: an error is no answer to keep')
    return EXIT_STATUS["fail"]


def _is_watched(console: Console) -> bool:
    """Whether somebody reads along."""
    return sys.stdout.isatty() and not console.json


class Live:
    """The texts of a streamed answer as they come, on a terminal; what else it holds comes at its end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: set[str] = set()

    @property
    def begun(self) -> bool:
        """Whether anything stands on the line."""
        return bool(self._shown)

    def tell(self, piece: Mapping[str, object]) -> None:
        """A piece: its texts go out at once."""
        for name, value in piece.items():
            if isinstance(value, str) and len(self._shown | {name}) == 1:  # several at a time could not be told apart
                self._shown.add(name)
                self._console.text(value)

    def rest(self, answer: Answer) -> str:
        """What is left to show of the answer, after the line that its text ends in."""
        body = answer.body
        if not self._shown or not isinstance(body, Mapping):
            return answer.text
        left = {name: value for name, value in body.items() if name not in self._shown}
        return f"\n{json.dumps(left, ensure_ascii=False)}" if left else ""


def _save(opened: Opened, client: Client, test: AppTest, console: Console) -> Report:
    report, writer = Report(), recorder(opened, client)
    try:
        report.written.append(writer.save_call(test))
    except Unrecordable as error:
        report.refused[test.name] = str(error)
        writer = recorder(opened, client)  # without what it had begun
    finish(writer, report, console)
    return report


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
