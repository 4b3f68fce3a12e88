"""The routes below /v1 are what /openapi.json says of them, as a tool sees it that calls all it may call."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from modelapp.testing import AppProject, RunningApp
from modelapp_openai.documents import ERRORS

EXPECTED = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 500, 503] # one model fails and one does not load, as scripted
"""


@pytest.fixture(scope="module")
def quick(talk: AppProject) -> Iterator[RunningApp]:
    """The app with its slow models made quick."""
    options = [f"--set=models.{name}.null.delay_ms=0" for name in ("slow", "narrow")]
    with talk.serve(*options) as app:
        yield app


@pytest.fixture(scope="module")
def document(quick: RunningApp) -> dict:
    """The app's /openapi.json."""
    return quick.ask("GET", "/openapi.json").json()


def schemathesis(quick: RunningApp, token: str, folder: Path, *options: str) -> None:
    """Run the tool against the routes below /v1; its report is the error.

    Left out: that whatever fits a schema is accepted. A prompt may fit it and be longer than the model reads.
    """
    (folder / "schemathesis.toml").write_text(f'{EXPECTED}\n[auth.openapi.token]\nbearer = "{token}"\n')
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{quick.url}/openapi.json",
        "--include-path-regex", "^/v1", "--exclude-checks", "positive_data_acceptance", "--no-color", *options,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Tested: 7" in done.stdout, done.stdout[-2000:]


def test_the_document_is_sound(document: dict) -> None:
    """It is OpenAPI, each operation has a name of its own, and a request may name the models of its route."""
    validate(document)
    paths = {path: document["paths"][path] for path in document["paths"] if path.startswith("/v1")}
    assert len(paths) == 7
    names = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(set(names)) == 7
    body = paths["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["allOf"][1]["properties"]["model"]["enum"] == ["vectors"]


def test_every_failure_is_described(document: dict) -> None:
    """Work tells every status that can come, each in the protocol's one shape."""
    responses = document["paths"]["/v1/completions"]["post"]["responses"]
    assert {int(status) for status in responses} == {200, *ERRORS}
    assert json.dumps(document).count("#/components/schemas/OpenAIError") == len(ERRORS)


def test_only_routes_that_have_a_model_are_there(tmp_path: Path) -> None:
    """An app without any such model tells so by /v1/models alone; all else below /v1 is 404 in the protocol's shape."""
    with AppProject(tmp_path).write('[app]\nname = "bare"\n').serve() as app:
        assert app.ask("GET", "/v1/models").json() == {"object": "list", "data": []}
        assert [path for path in app.ask("GET", "/openapi.json").json()["paths"] if path.startswith("/v1")] == [
            "/v1/models", "/v1/models/{model}",
        ]  # fmt: skip
        missing = app.post("/v1/chat/completions", {"model": "any", "messages": []})
        vectors = app.post("/v1/embeddings", {"model": "any", "input": "x"}).json()["error"]["message"]
    assert missing.status == 404
    assert missing.json()["error"]["message"].startswith('there is no route "/v1/chat/completions"')
    assert vectors == 'there is no route "/v1/embeddings"; no model of the app has task = "embeddings"'


@pytest.mark.slow
def test_what_is_described_is_what_is_served(quick: RunningApp, boss: str, tmp_path: Path) -> None:
    """Each route is called at the bounds of its schema, and answers as described."""
    schemathesis(quick, boss, tmp_path, "--phases", "coverage", "--seed", "1")


@pytest.mark.slow
def test_what_is_described_is_what_is_served_at_length(quick: RunningApp, boss: str, tmp_path: Path) -> None:
    """Each route is called with many requests, right and wrong, alone and one after the other."""
    schemathesis(quick, boss, tmp_path, "--max-examples", "50")
