"""The routes below /v2 are what /openapi.json says of them, as a tool sees it that calls all it may call."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from modelapp.testing import AppProject, RunningApp
from modelapp_oip.documents import ERRORS

APP = """
[app]
name = "described"

[models.affine]
source = "handlers.py"
runtime = "null"
max_batch_size = 8
[models.affine.null]
inputs = { x = "float32[batch, 2]" }

[models.half]
source = "handlers.py"
runtime = "null"
[models.half.null]
inputs = { t = "string[batch, n]", h = "float16[batch]" }

[models.words]
source = "handlers.py:Words"
runtime = "python"
"""
EXPECTED = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 504] # the tool asks for timeouts of microseconds
"""
HANDLERS = '''
class Words:
    """Counts what it is given."""

    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"fields": len(row)} for row in rows]
'''


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app above, serving."""
    with AppProject(tmp_path_factory.mktemp("described")).write(APP, handlers=HANDLERS).serve() as app:
        yield app


@pytest.fixture(scope="module")
def document(running: RunningApp) -> dict:
    """Its /openapi.json."""
    return running.ask("GET", "/openapi.json").json()


def schemathesis(running: RunningApp, folder: Path, *options: str) -> None:
    """Run the tool against the routes below /v2; its report is the error.

    Left out: that whatever fits a schema is accepted. A tensor may fit it and be none that the model takes.
    """
    (folder / "schemathesis.toml").write_text(EXPECTED)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{running.url}/openapi.json",
        "--include-path-regex", "^/v2", "--exclude-checks", "positive_data_acceptance", "--no-color", *options,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Tested: 22" in done.stdout, done.stdout[-2000:]


def test_the_document_is_sound(document: dict) -> None:
    """It is OpenAPI, names its path parameters as tools read them, and each operation once."""
    validate(document)
    paths = [path for path in document["paths"] if path.startswith("/v2")]
    assert "/v2/models/{model}/versions/{version}/infer" in paths
    assert not [path for path in paths if "$" in path]
    operations = [operation for path in paths for operation in document["paths"][path].values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names) == 22
    models = next(one for one in document["paths"]["/v2/models/{model}/infer"]["post"]["parameters"])
    assert models["schema"]["enum"] == ["affine", "half", "words"]


def test_every_failure_is_described(document: dict) -> None:
    """Inference tells every status that can come, each in the protocol's one shape."""
    responses = document["paths"]["/v2/models/{model}/infer"]["post"]["responses"]
    assert {int(status) for status in responses} == {200, *ERRORS}
    assert document["components"]["schemas"]["OipError"]["required"] == ["error"]
    assert "Retry-After" in document["components"]["responses"]["Oip429"]["headers"]
    assert json.dumps(document).count("#/components/schemas/OipError") == len(ERRORS)


def test_what_is_described_is_what_is_served(running: RunningApp, tmp_path: Path) -> None:
    """Each route is called at the bounds of its schema, and answers as described."""
    schemathesis(running, tmp_path, "--phases", "coverage", "--seed", "1")


@pytest.mark.slow
def test_what_is_described_is_what_is_served_at_length(running: RunningApp, tmp_path: Path) -> None:
    """Each route is called with hundreds of requests, right and wrong, alone and one after the other."""
    schemathesis(running, tmp_path, "--max-examples", "100")
