"""URLs in the inputs of a request, from a real app that fetches from a real server."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelapp.app import Field
from modelapp.errors import DeadlineExceeded, InvalidInput
from modelapp.fetching import Budget
from modelapp.fieldtype import parse
from modelapp.remote import MAX_URLS, fetch_urls, takes_urls
from modelapp.testing import AppProject

LOCAL = ("127.0.0.1",)


class Files(http.server.BaseHTTPRequestHandler):
    """Answers every path with its name; /large with a megabyte, /slow after a while."""

    def do_GET(self) -> None:
        """One file."""
        if self.path == "/slow":
            time.sleep(5)
        body = b"x" * 1_000_000 if self.path == "/large" else self.path.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def files() -> Iterator[str]:
    """The address of such a server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def field(name: str, type_: str, *fields: Field, hosts: tuple[str, ...] = (), sensitive: bool = False) -> Field:
    """A declared input."""
    inner = {one.name: one for one in fields}
    return Field(name=name, type=parse(type_), fields=inner, allow_hosts=hosts, sensitive=sensitive)


FIELDS = {
    one.name: one
    for one in (
        field("one", "bytes", hosts=LOCAL),
        field("many", "list[bytes]", hosts=LOCAL),
        field("deep", "list[record]", field("inner", "bytes?", hosts=LOCAL), field("name", "str")),
        field("closed", "bytes"),
        field("text", "str"),
    )
}


def fetched(document: object, seconds: float = 20, most: int = 10_000) -> object:
    """The document with what is behind its URLs."""
    return fetch_urls(FIELDS, document, Budget(most, time.monotonic() + seconds))


def test_urls_are_fetched_where_hosts_are_listed_and_nowhere_else(files):
    """In lists and records too; texts that look like URLs stay texts, and the caller's document as it was."""
    document = {
        "one": f"{files}/a",
        "many": [f"{files}/b", "YWJj", f"{files}/c"],
        "deep": [{"inner": f"{files}/d", "name": f"{files}/e"}, {"inner": None, "name": "x"}],
        "closed": f"{files}/f",
        "text": f"{files}/g",
        "stranger": f"{files}/h",
    }
    before = json.dumps(document)
    assert fetched(document) == {
        **document,
        "one": b"/a",
        "many": [b"/b", "YWJj", b"/c"],
        "deep": [{"inner": b"/d", "name": f"{files}/e"}, {"inner": None, "name": "x"}],
    }
    assert json.dumps(document) == before


@pytest.mark.parametrize("document", [None, 7, [], "text", {"one": 7, "many": "x", "deep": [7, {"inner": []}]}])
def test_what_has_another_shape_is_left_to_the_checks(document):
    """Nothing is fetched, and nothing fails here."""
    assert fetched(document) == document


def test_a_fault_names_its_field(files):
    """As the checks of values do."""
    with pytest.raises(InvalidInput, match=r'"deep\[1\].inner" is a URL of a host') as caught:
        fetched({"deep": [{}, {"inner": "https://elsewhere.test/secret?key=1"}]})
    assert caught.value.field == "deep[1].inner"
    assert "secret" not in caught.value.message


def test_a_sensitive_field_does_not_tell_its_host():
    """The URL is the value."""
    fields = {"one": field("one", "bytes", hosts=LOCAL, sensitive=True)}
    with pytest.raises(InvalidInput) as caught:
        fetch_urls(fields, {"one": "https://anns-clinic.test/"}, Budget(10, time.monotonic() + 5))
    assert "anns" not in str(caught.value)


def test_the_urls_of_a_request_are_counted(files):
    """A small request must not make this server call another a thousand times."""
    fetched({"many": [f"{files}/a"] * MAX_URLS})
    with pytest.raises(InvalidInput, match=f"one URL more than the {MAX_URLS}"):
        fetched({"many": [f"{files}/a"] * (MAX_URLS + 1)})


def test_time_ends_it(files):
    """Whatever is left of the document."""
    with pytest.raises(DeadlineExceeded):
        fetched({"many": [f"{files}/slow"] * 3}, seconds=0.2)


def test_whether_a_declaration_takes_urls():
    """At any depth; hosts of a field that is no file mean nothing."""
    assert takes_urls(FIELDS)
    assert takes_urls({"deep": FIELDS["deep"]})
    assert not takes_urls({"closed": FIELDS["closed"], "text": field("text", "str", hosts=LOCAL)})


APP = """
[app]
name = "sizes"

[endpoints.size]
timeout_s = 1
max_body_mb = 0.5
steps = [{ name = "out", run = "handlers.py:size", needs = ["data", "closed"] }]
[endpoints.size.input]
data = { type = "bytes", allow_hosts = ["127.0.0.1"] }
closed = { type = "bytes", default = "" }
[endpoints.size.output]
size = "int"

[[tests]]
name = "small"
input = { data = "%s/abc" }
expect = { size = 4 }
"""
HANDLERS = "def size(data, closed):\n    return {'size': len(data)}\n"


def test_an_app_fetches_for_its_callers(files: str, tmp_path: Path) -> None:
    """From JSON, from a form, from a test, from `predict`; bounded by the endpoint's size and time."""
    project = AppProject(tmp_path / "sizes").write(APP % files, handlers=HANDLERS)
    assert project.run("check").exit_code == 0
    tested = project.run("test")
    assert tested.exit_code == 0, tested
    assert project.run("predict", f"data={files}/abcd").stdout.strip() == '{"size":5}'
    with project.serve() as app:
        assert app.post("/size", {"data": f"{files}/abcd"}).json() == {"size": 5}
        form = f'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n{files}/form\r\n--b--\r\n'
        answer = app.ask("POST", "/size", form, {"content-type": "multipart/form-data; boundary=b"})
        assert answer.json() == {"size": 5}
        large = app.post("/size", {"data": f"{files}/large"})
        assert (large.status, large.json()["error"]["field"]) == (422, "data")
        slow = app.post("/size", {"data": f"{files}/slow"})
        assert (slow.status, slow.json()["error"]["code"]) == (504, "deadline_exceeded")
        for name in ("data", "closed"):
            other = app.post("/size", {"data": "", "closed": "", name: f"{files.replace('127.0.0.1', 'localhost')}/a"})
            assert other.status == 422
            assert "allow_hosts" in other.json()["error"]["message"]
        described = json.dumps(app.ask("GET", "/openapi.json").json())
        assert "or a URL of 127.0.0.1" in described
