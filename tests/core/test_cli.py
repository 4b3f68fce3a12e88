"""The command line, as users start it: real processes, real replicas."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

VERBS = ("check", "run", "predict", "test", "lock", "plugins")
APP = """
[app]
name = "shop"

[endpoints.total]
timeout_s = 5
steps = [{ name = "sum", run = "handlers.py:total", needs = ["prices", "percent"] }]

[endpoints.total.input]
prices = "list[float]"
percent = { type = "int", default = 0, min = 0, max = 100 }

[endpoints.total.output]
total = "float"

[endpoints.measure]
steps = [{ name = "size", run = "handlers.py:measure", needs = ["photo", "label"] }]

[endpoints.measure.input]
photo = "image"
label = "str"

[endpoints.measure.output]
label = "str"
height = "int"

[[tests]]
name = "two prices"
endpoint = "total"
input = { prices = [1.5, 2.5] }
expect = { total = 4.0 }

[[tests]]
name = "half off"
endpoint = "total"
input = { prices = [10.0], percent = 50 }
expect = { total = 5.0 }
tags = ["sale"]

[[tests]]
name = "too much off"
endpoint = "total"
input = { prices = [1.0], percent = 101 }
expect_error = { status = 422, contains = "percent" }

[[tests]]
name = "a photo"
endpoint = "measure"
input = { photo = "data/photo.png", label = "red" }
expect = { label = "red", height = 2 }

[[tests]]
name = "the sum itself"
endpoint = "total"
input = { prices = [1.0] }
probe = "sum"
expect = { total = 1.0 }
"""
HANDLERS = """
import os
import re
import signal
import time


def total(prices, percent):
    if percent == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    if percent == 98:
        time.sleep(1.5)
    print("a handler prints")
    return {"total": sum(prices) * (100 - percent) / 100}


def measure(photo, label):
    return {"label": label, "height": photo.shape[0]}
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def shop(write_app: Callable[..., Path]) -> Path:
    """The folder of an app without models."""
    return write_app(APP, {"handlers.py": HANDLERS, "data/photo.png": picture()})


def picture() -> bytes:
    """A PNG, three pixels wide and two high."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG")
    return file.getvalue()


def edit(root: Path, old: str, new: str) -> None:
    """Change app.toml."""
    text = (root / "app.toml").read_text()
    assert old in text
    (root / "app.toml").write_text(text.replace(old, new))


def line_of(root: Path, text: str) -> int:
    """The line of app.toml that holds `text`."""
    return next(number for number, line in enumerate((root / "app.toml").read_text().split("\n"), 1) if text in line)


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait_until(holds: Callable[[], Any], background: Any, seconds: float = 30) -> Any:
    """The first true value of `holds`; fails at once when the command has ended."""
    until = time.monotonic() + seconds
    while not (value := holds()):
        assert background.process.poll() is None, f"it ended: {background.stderr}"
        assert time.monotonic() < until, f"it did not come about: {background.stderr}"
        time.sleep(0.02)
    return value


@pytest.fixture
def served(shop: Path, background: Callable[..., Any]) -> Callable[..., tuple[Any, str]]:
    """Starts `modelapp run` for the shop and waits until it is ready: the command and its URL."""

    def start(*words: str, env: Mapping[str, str] | None = None) -> tuple[Any, str]:
        port = free_port()
        command = background("run", *words, "--set", f"server.port={port}", cwd=shop, env=env)
        wait_until(lambda: "ready" in command.stdout or '"release"' in command.stdout, command)
        return command, f"http://127.0.0.1:{port}"

    return start


def post(url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a call."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return dict(json.load(answer))


# The words themselves


@pytest.mark.parametrize("words", [("--help",), ("--version",), *((verb, "--help") for verb in VERBS)])
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    """The command line answers at once: no array, server or model library, no reader of app.toml."""
    script = (
        "import sys\nfrom modelapp.cli import main\n"
        f"status = main({list(words)!r})\n"
        "print(','.join(sorted(set(sys.modules) & set(sys.argv[1].split(',')))) or 'none', file=sys.stderr)\n"
        "sys.exit(status)"
    )
    heavy = "numpy,granian,uvloop,msgspec,PIL,onnxruntime,torch,rich,attrs,cattrs,pluggy,tomli,asyncio,modelapp.app"
    ended = subprocess.run([sys.executable, "-c", script, heavy], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "none"
    assert ended.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_import_no_model_library(verb: str) -> None:
    """What a verb needs to begin with holds neither arrays nor the server."""
    script = f"import sys\nimport modelapp.cli.{verb}\nprint(set(sys.modules) & {{'numpy', 'granian', 'PIL', 'rich'}})"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "required"),
        (("chekc",), 'did you mean "check"?'),
        (("check", "--jsn"), 'did you mean "--json"?'),
        (("check", "--nonsense"), "unrecognized"),
        (("check", "--format", "xml"), "invalid choice"),
        (("-q", "-v", "check"), "not allowed with"),
        (("predict", "total", "prices"), "no NAME=VALUE"),
        (("predict", "totl", "prices=[1]"), 'did you mean "total"?'),
        (("predict", "prices=[1]"), "which endpoint?"),
        (("predict", "total", "price=[1]"), 'did you mean "prices"?'),
        (("predict", "total", "percent=many"), "write percent=7"),
        (("predict", "total", "percent=1", "percent=2"), "given twice"),
        (("predict", "measure", "photo=data/photo.png"), "write photo=@FILE"),
        (("predict", "measure", "photo=@gone.png"), 'no file "gone.png"'),
    ],
)
def test_a_bad_command_line_is_status_2(shop: Path, modelapp: Run, words: tuple[str, ...], told: str) -> None:
    """One line says what is wrong with it, and help follows; nothing on standard output."""
    ended = modelapp(*words, cwd=shop)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_common_options_stand_before_and_after_the_verb(shop: Path, modelapp: Run, tmp_path: Path) -> None:
    """And add up where they may be repeated."""
    words = ("--set", "app.name='first'", "-C", shop, "check", "--json", "--set", "app.description='second'")
    ended = modelapp(*words, cwd=tmp_path)
    assert json.loads(ended.stdout)["app"] == "first"
    ended = modelapp("check", "-C", shop, "--set", "app.name=1", cwd=tmp_path)
    assert ended.returncode == 3


# check


def test_check_tells_what_there_is(shop: Path, modelapp: Run) -> None:
    """Text for people, one document with --json."""
    ended = modelapp("check", cwd=shop)
    assert (ended.returncode, ended.stdout) == (0, "app.toml is valid: 0 models, 2 endpoints, 5 tests\n")
    document = json.loads(modelapp("check", "--json", cwd=shop).stdout)
    assert document["schema_version"] == 1
    assert (document["valid"], document["endpoints"], document["problems"]) == (True, ["total", "measure"], [])


def test_check_prints_every_problem_with_its_place(shop: Path, modelapp: Run) -> None:
    """As text, as JSON and as annotations; the status is 3 each time."""
    edit(shop, "timeout_s = 5", "timeout = 5")
    edit(shop, 'probe = "sum"', 'prob = "sum"')
    text, document, marks = (
        modelapp("check", *words, cwd=shop) for words in ((), ("--format", "json"), ("--format", "github"))
    )
    assert [ended.returncode for ended in (text, document, marks)] == [3, 3, 3]
    assert "app.toml:6:1" in text.stdout
    assert 'did you mean "probe"?' in text.stdout
    assert "2 problems" in text.stderr
    assert min(problem["line"] for problem in json.loads(document.stdout)["problems"]) == 6
    assert [line.split(",")[0] for line in marks.stdout.splitlines() if line.startswith("::")] == [
        "::error file=app.toml"
    ] * 2


@pytest.mark.parametrize("verb", ["check", "run", "predict", "test"])
def test_a_folder_without_an_app_is_status_3(tmp_path: Path, modelapp: Run, verb: str) -> None:
    """Every verb says the same."""
    ended = modelapp(verb, "--json", cwd=tmp_path)
    assert ended.returncode == 3
    assert json.loads(ended.stdout)["schema_version"] == 1
    assert "Traceback" not in ended.stderr


# test


def test_tests_pass_on_a_replica_of_their_own(shop: Path, modelapp: Run) -> None:
    """One line a test, a summary, status 0; what handlers print does not mix with the results."""
    ended = modelapp("test", cwd=shop)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["PASS"] * 5 + ["5"]
    assert lines[-1].startswith("5 passed")
    assert "a handler prints" in ended.stderr
    assert not (shop / ".modelapp" / "running.json").exists()


def test_a_failure_shows_expected_got_and_again(shop: Path, modelapp: Run, tmp_path: Path) -> None:
    """With the line in app.toml, the command that repeats it, and a curl that could."""
    edit(shop, "expect = { total = 5.0 }", "expect = { total = 4.0 }")
    line = line_of(shop, 'name = "half off"') - 1
    ended = modelapp("-C", shop, "test", "half off", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stdout.splitlines() == [
        f"FAIL  half off   app/app.toml:{line}",
        "      expected  total 4.0",
        "      got       5.0",
        f"      again     modelapp -C {shop} test 'half off'",
        "                curl -H 'content-type: application/json' "
        """-d '{"prices": [10.0], "percent": 50}' http://127.0.0.1:8000/total""",
        ended.stdout.splitlines()[-1],
    ]
    assert ended.stdout.splitlines()[-1].startswith("1 failed")


def test_text_json_junit_and_status_agree(shop: Path, modelapp: Run, tmp_path: Path) -> None:
    """One verdict is behind all of them."""
    edit(shop, "expect = { total = 5.0 }", "expect = { total = 4.0 }")
    junit = tmp_path / "out" / "junit.xml"
    ended = modelapp("test", "--json", "--junit", junit, cwd=shop)
    assert ended.returncode == 1
    document = json.loads(ended.stdout)
    assert document["verdict"] == "fail"
    assert document["counts"] == {"fail": 1, "inconclusive": 0, "pass": 4}
    failed = [test["name"] for test in document["tests"] if test["verdict"] == "fail"]
    cases = ElementTree.parse(junit).getroot().iter("testcase")
    assert failed == ["half off"] == [case.get("name") for case in cases if case.find("failure") is not None]


def test_names_and_tags_select(shop: Path, modelapp: Run) -> None:
    """Only what was asked for runs."""
    document = json.loads(modelapp("test", "--tag", "sale", "--json", cwd=shop).stdout)
    assert [test["name"] for test in document["tests"]] == ["half off"]


@pytest.mark.parametrize("words", [("two pries",), ("--tag", "sales"), ("two prices", "nothing")])
def test_what_is_not_there_cannot_pass(shop: Path, modelapp: Run, words: tuple[str, ...]) -> None:
    """Status 4: nothing was decided. An earlier report is not left to be read as this one's."""
    (shop / "junit.xml").write_text("<old/>")
    ended = modelapp("test", *words, "--junit", "junit.xml", cwd=shop)
    assert ended.returncode == 4
    assert not (shop / "junit.xml").exists()


def test_an_app_without_tests_cannot_pass(shop: Path, modelapp: Run) -> None:
    """Status 4."""
    text = (shop / "app.toml").read_text()
    (shop / "app.toml").write_text(text[: text.index("[[tests]]")])
    ended = modelapp("test", cwd=shop)
    assert ended.returncode == 4
    assert "no [[tests]]" in ended.stderr


def test_github_gets_annotations_and_a_summary(shop: Path, modelapp: Run, tmp_path: Path) -> None:
    """Beside the text, never instead of the verdict."""
    edit(shop, "expect = { total = 5.0 }", "expect = { total = 4.0 }")
    summary = tmp_path / "summary.md"
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    ended = modelapp("test", "--json", cwd=shop, env=env)
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["verdict"] == "fail"
    line = line_of(shop, 'name = "half off"') - 1
    assert f"::error file=app.toml,line={line},title=FAIL half off::total expected 4.0, got 5.0" in ended.stderr
    assert "| FAIL | half off |" in summary.read_text()


def test_a_replica_that_dies_fails_its_test_alone(shop: Path, modelapp: Run) -> None:
    """The death is told by its signal, and the next test meets the successor."""
    edit(shop, "percent = 50", "percent = 99")
    ended = modelapp("test", cwd=shop)
    assert ended.returncode == 1
    verdicts = [line.split()[0] for line in ended.stdout.splitlines() if line[:1].isupper()]
    assert verdicts == ["PASS", "FAIL", "PASS", "PASS", "PASS"]
    assert "replica died: SIGKILL (-9)" in ended.stderr


@pytest.mark.parametrize(
    ("handlers", "told"),
    [
        (
            "import nothing_of_this_name\ndef total(p, q): ...\ndef measure(a, b): ...\n",
            "handlers.py:1: ModuleNotFound",
        ),
        ("def measure(a, b): ...\ndef total(p, q): ...\n1 / 0\n", "handlers.py:3: ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "test"])
def test_a_handler_that_does_not_import_is_status_5(
    shop: Path, modelapp: Run, verb: str, handlers: str, told: str
) -> None:
    """File, line and the exception itself; no frames of ours."""
    (shop / "handlers.py").write_text(handlers)
    ended = modelapp(verb, "--set", "server.port=0", cwd=shop)
    assert ended.returncode == 5
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "site-packages" not in ended.stderr


# predict


def test_predict_starts_the_app_for_one_call(shop: Path, modelapp: Run) -> None:
    """The answer on standard output, times on standard error."""
    ended = modelapp("predict", "total", "prices=[1, 2.5]", "percent=10", cwd=shop)
    assert (ended.returncode, json.loads(ended.stdout)) == (0, {"total": 3.15})
    assert "total " in ended.stderr


def test_predict_uploads_files_of_the_current_folder(shop: Path, modelapp: Run) -> None:
    """NAME=@FILE is relative to where the user is, not to the app; @@ begins a text with @."""
    ended = modelapp("-C", "..", "predict", "measure", "photo=@photo.png", "label=@@home", cwd=shop / "data")
    assert json.loads(ended.stdout) == {"label": "@home", "height": 2}, ended.stderr


def test_predict_with_an_error_is_status_1(shop: Path, modelapp: Run) -> None:
    """Status, code and message on standard error; with --json the document as well."""
    ended = modelapp("predict", "total", "prices=[1]", "percent=101", "--json", cwd=shop)
    assert ended.returncode == 1
    assert "422 invalid_input: " in ended.stderr
    assert json.loads(ended.stdout)["error"]["error"]["field"] == "percent"


# run


def test_run_serves_and_says_how_to_call(shop: Path, served: Callable[..., tuple[Any, str]]) -> None:
    """Endpoints, a curl that works as it stands, ready; SIGTERM ends it with status 0 and no orphan."""
    command, url = served()
    lines = command.stdout.splitlines()
    assert lines[0].startswith("app shop")
    assert [line for line in lines if line.startswith("serving")] == [
        f"serving {url}   every route: {url}/openapi.json"
    ]
    assert [line for line in lines if line.startswith("POST")] == [f"POST {url}/total", f"POST {url}/measure"]
    curl = next(line for line in lines if line.startswith("try: ")).removeprefix("try: ")
    told = subprocess.run(["/bin/sh", "-c", curl], capture_output=True, text=True, cwd=shop, check=True)
    assert json.loads(told.stdout) == {"total": 4.0}
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(timeout=30) == 0
    assert not (shop / ".modelapp" / "running.json").exists()
    with pytest.raises(OSError, match="refused"):
        post(f"{url}/total", {"prices": [1]})


def test_run_with_json_prints_one_document(served: Callable[..., tuple[Any, str]]) -> None:
    """It comes when the app is ready, and nothing follows it on standard output."""
    command, url = served("--json")
    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(timeout=30) == 0
    document = json.loads(command.stdout)
    assert (document["app"], document["url"], document["pid"]) == ("shop", url, command.process.pid)
    assert document["endpoints"][0] == {"name": "total", "method": "POST", "url": f"{url}/total"}


MODEL_APP = """
[app]
name = "doubler"

[models.twice]
source = "handlers.py:Twice"
runtime = "python"

[models.broken]
source = "handlers.py:Broken"
runtime = "python"
required = REQUIRED

[endpoints.twice]
model = "twice"

[endpoints.twice.input]
x = "float"

[endpoints.twice.output]
y = "float"
"""
MODELS = """
class Twice:
    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"y": 2 * row["x"]} for row in rows]


class Broken:
    def __init__(self):
        raise OSError("the weights are gone")

    def predict(self, rows: list[dict]) -> list[dict]:
        return rows
"""


def test_run_tells_of_each_model(write_app: Callable[..., Path], background: Callable[..., Any]) -> None:
    """Runtime, device and load time; one that may fail alone is told with its reason, and the app serves."""
    root = write_app(MODEL_APP.replace("REQUIRED", "false"), {"handlers.py": MODELS})
    command = background("run", "--json", "--set", "server.port=0", cwd=root)
    wait_until(lambda: '"release"' in command.stdout, command)
    document = json.loads(command.stdout)
    assert post(f"{document['url']}/twice", {"x": 4}) == {"y": 8.0}
    models = {model["name"]: model for model in document["models"]}
    assert (models["twice"]["runtime"], models["twice"]["device"]) == ("python", "cpu")
    assert models["twice"]["seconds"] >= 0
    assert "the weights are gone" in models["broken"]["error"]
    assert "the weights are gone" in command.stderr


def test_a_required_model_that_does_not_load_is_status_5(write_app: Callable[..., Path], modelapp: Run) -> None:
    """With the reason, and without frames of ours."""
    root = write_app(MODEL_APP.replace("REQUIRED", "true"), {"handlers.py": MODELS})
    ended = modelapp("run", "--json", "--set", "server.port=0", cwd=root)
    assert ended.returncode == 5
    assert "the weights are gone" in json.loads(ended.stdout)["error"]["message"]
    assert "Traceback" not in ended.stderr


def test_run_lets_requests_in_progress_end(served: Callable[..., tuple[Any, str]]) -> None:
    """A request that was taken before the signal gets its answer."""
    import threading

    command, url = served()
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(post(f"{url}/total", {"prices": [1], "percent": 98})))
    caller.start()
    time.sleep(0.4)
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(timeout=30) == 0
    caller.join()
    assert answers == [{"total": 0.02}]


def test_a_second_signal_does_not_wait(served: Callable[..., tuple[Any, str]]) -> None:
    """Status 130, like an interrupted command."""
    command, _ = served()
    command.process.send_signal(signal.SIGINT)
    wait_until(lambda: "draining" in command.stderr, command)
    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(timeout=30) == 130


def test_run_on_a_taken_port_is_status_5(shop: Path, modelapp: Run) -> None:
    """At once, naming the port and another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = modelapp("run", "--set", f"server.port={port}", cwd=shop)
    assert ended.returncode == 5
    assert f"port {port} on 127.0.0.1 is taken" in ended.stderr
    assert f"server.port={port + 1}" in ended.stderr


def test_a_crashed_replica_is_replaced(served: Callable[..., tuple[Any, str]]) -> None:
    """The parent tells and goes on at the same address."""
    command, url = served()
    with pytest.raises(OSError, match=r"closed|reset"):
        post(f"{url}/total", {"prices": [1], "percent": 99})
    assert post(f"{url}/total", {"prices": [1]}) == {"total": 1.0}
    assert "replica died: SIGKILL (-9)" in command.stderr


def test_a_killed_run_leaves_no_replica(shop: Path, served: Callable[..., tuple[Any, str]], modelapp: Run) -> None:
    """After SIGKILL of the parent the port is free, and the stale record misleads nobody."""
    command, url = served()
    command.process.kill()
    command.process.wait()
    until = time.monotonic() + 15
    while True:
        try:
            post(f"{url}/total", {"prices": [1]})
        except OSError as error:
            if "refused" in str(error):
                break
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (shop / ".modelapp" / "running.json").exists()
    ended = modelapp("predict", "total", "prices=[1]", cwd=shop)
    assert json.loads(ended.stdout) == {"total": 1.0}
    assert "using the running app" not in ended.stderr


def test_predict_and_test_reuse_the_running_app(
    shop: Path, served: Callable[..., tuple[Any, str]], modelapp: Run
) -> None:
    """Test only where it serves these very files; predict says when they have changed."""
    command, url = served()
    using = f"using the running app (pid {command.process.pid})"
    same = ("--set", f"server.port={url.rpartition(':')[2]}")
    predicted = modelapp("predict", "total", "prices=[1]", cwd=shop)
    assert using in predicted.stderr
    assert "have changed" not in predicted.stderr
    tested = modelapp("test", *same, cwd=shop)
    assert tested.returncode == 0
    assert using in tested.stderr
    (shop / "handlers.py").write_text(HANDLERS.replace('{"total": ', '{"total": 1 + '))
    predicted = modelapp("predict", "total", "prices=[1]", cwd=shop)
    assert json.loads(predicted.stdout) == {"total": 1.0}
    assert "the files have changed" in predicted.stderr
    tested = modelapp("test", *same, cwd=shop)
    assert tested.returncode == 1
    assert using not in tested.stderr


def test_quiet_leaves_out_notes_and_keeps_results(shop: Path, modelapp: Run) -> None:
    """Standard error holds what handlers print, and nothing of ours."""
    ended = modelapp("-q", "predict", "total", "prices=[1]", cwd=shop)
    assert json.loads(ended.stdout) == {"total": 1.0}
    assert ended.stderr == "a handler prints\n"


# Interruptions


@pytest.mark.parametrize("words", [("check",), ("plugins",), ("check", "--json")])
def test_a_reader_that_has_left_is_no_traceback(shop: Path, words: tuple[str, ...]) -> None:
    """Its closed pipe ends the command quietly."""
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", "modelapp", *words],
        cwd=shop,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert ended.returncode == 141
    assert ended.stderr == ""


def test_a_terminal_without_the_characters_gets_their_codes(shop: Path, modelapp: Run) -> None:
    """An error that quotes such a line is still told."""
    edit(shop, "timeout_s = 5", 'timeout = "\u4f60"')
    ended = modelapp("check", cwd=shop, env={"PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 3
    assert "\\u4f60" in ended.stdout


def test_a_closed_output_is_as_good_as_none(shop: Path) -> None:
    """The status still tells."""
    ended = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m modelapp check >&- 2>&-', sys.executable], cwd=shop, check=False, timeout=60
    )
    assert ended.returncode == 0


def test_an_interrupted_test_is_status_130(shop: Path, background: Callable[..., Any]) -> None:
    """Its replica goes with it."""
    edit(shop, "prices = [1.5, 2.5] }", "prices = [1.5, 2.5], percent = 98 }\nrepeat = 50")
    command = background("test", cwd=shop)
    wait_until(lambda: "a handler prints" in command.stderr, command)
    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(timeout=30) == 130
    assert "Traceback" not in command.stderr


def test_a_defect_of_ours_shows_its_traceback_only_when_asked(shop: Path) -> None:
    """One line and how to report it; the status is none that means anything else."""
    script = (
        "import sys\nfrom modelapp import loader\n"
        "def broken(*_, **__): raise ZeroDivisionError('within')\n"
        "loader.check_app = broken\n"
        "from modelapp.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    plain, verbose = (
        subprocess.run(
            [sys.executable, "-c", script, "check", *words], cwd=shop, capture_output=True, text=True, check=False
        )
        for words in ((), ("-vv",))
    )
    assert plain.returncode == verbose.returncode == 70
    assert "a defect in modelapp: ZeroDivisionError: within" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert "Traceback" in verbose.stderr


# plugins


def test_plugins_lists_what_is_installed(modelapp: Run, tmp_path: Path) -> None:
    """The built-in ones come in like any other."""
    document = json.loads(modelapp("plugins", "--json", cwd=tmp_path).stdout)
    found = {plugin["name"]: plugin for plugin in document["plugins"]}
    assert {"python", "onnx", "oip"} <= set(found)
    assert found["onnx"]["hooks"] == ["modelapp_runtimes"]
    assert found["onnx"]["parts"][0]["name"] == "onnx"
    table = modelapp("plugins", cwd=tmp_path).stdout
    assert table.splitlines()[0].split() == ["PLUGIN", "DISTRIBUTION", "VERSION", "STATE", "HOOKS"]


def test_a_disabled_plugin_is_shown_as_such(modelapp: Run, tmp_path: Path) -> None:
    """It is not hidden."""
    ended = modelapp("plugins", "--json", cwd=tmp_path, env={"MODELAPP_DISABLE_PLUGINS": "onnx"})
    states = {plugin["name"]: plugin["state"] for plugin in json.loads(ended.stdout)["plugins"]}
    assert states["onnx"] == "disabled"


# The documentation


def test_the_app_of_the_documentation_passes_its_tests(modelapp: Run, tmp_path: Path) -> None:
    """docs/tests.md shows every matcher in an app that does what the page says."""
    page = (Path(__file__).parents[2] / "docs" / "tests.md").read_text()
    for name, text in re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    ended = modelapp("test", "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    measured = {test["name"]: test["measured"] for test in json.loads(ended.stdout)["tests"]}
    assert measured["labelled reviews"] == {"accuracy": 0.75, "cases": 4.0}


def test_the_file_in_the_place_of_its_folder_is_named(shop: Path, modelapp: Run) -> None:
    """`-C` takes a folder."""
    ended = modelapp("-C", "app.toml", "check", cwd=shop)
    assert ended.returncode == 3
    assert "help: name the folder: modelapp -C ." in ended.stdout
