"""The servers that are compared: how each is installed, configured, started and asked."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from models import APPS, Case

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
SERVERS = HERE / "servers"
ONNX = ("onnxruntime==1.32.0", "numpy==2.4.6")


@attrs.frozen
class Settings:
    """How a peer serves one kind of model: with batching, up to the case's batch size, or without."""

    batching: bool = False
    wait_ms: int = 1
    extra: Mapping[str, str] = attrs.Factory(dict)


@attrs.frozen
class System:
    """One server. `tiny` and `encoder` are the settings that did best for each when tried."""

    name: str
    requirements: tuple[str, ...]
    path: str
    command: Callable[[Path, Case, int], list[str]]
    wire: str
    tiny: Settings = Settings()
    encoder: Settings = Settings()
    own: bool = False
    """It runs from this checkout and its environment."""
    home: str = ""
    """The peer whose environment it shares, where not one of its own."""

    @property
    def folder(self) -> Path:
        """The folder of its environment."""
        return PEERS / (self.home or self.name)

    @property
    def python(self) -> Path:
        """The interpreter it runs on."""
        return Path(sys.executable) if self.own else self.folder / "bin" / "python"

    def settings(self, case: Case) -> Settings:
        """Its settings for a case."""
        return self.tiny if case.app == "tiny" else self.encoder

    def url(self, port: int, case: Case) -> str:
        """Where one row is answered."""
        return f"http://127.0.0.1:{port}" + self.path.format(model=case.app)

    def body(self, case: Case) -> bytes:
        """A request of one row."""
        return case.oip() if self.wire == "oip" else case.plain(batched=self.wire == "rows")

    def row(self, answer: Any) -> list[float]:
        """The row in its answer."""
        if self.wire == "oip":
            row: list[float] = answer["outputs"][0]["data"]
            return row
        return list(answer[0] if self.wire == "rows" else answer["row"])

    def start(self, case: Case, port: int, log: Path) -> subprocess.Popen[bytes]:
        """Start it, in a session of its own so that all its children can be ended with it."""
        settings = self.settings(case)
        work = PEERS / "work" / self.name
        work.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "PYTHONPATH": str(SERVERS),
            "BENCH_MODEL": str(case.model_file),
            "BENCH_THREADS": str(case.threads),
            "BENCH_DTYPE": "float32" if case.datatype == "FP32" else "int64",
            "BENCH_BATCH": str(case.batch if settings.batching else 1),
            "BENCH_WAIT_MS": str(settings.wait_ms),
            "BENCH_PORT": str(port),
            "OMP_NUM_THREADS": str(case.threads),
            **settings.extra,
        }
        with log.open("ab") as output:
            return subprocess.Popen(
                self.command(work, case, port),
                cwd=work,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def install(self) -> None:
        """Give a peer its own environment, once per set of requirements."""
        if self.own:
            return
        wanted = "\n".join(self.requirements)
        stamp = self.folder / "requirements.txt"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print(f"installing {self.name} into {self.folder} ...", flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", self.folder], check=True)
        subprocess.run(
            [
                self.python,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
                *self.requirements,
            ],
            check=True,
        )
        stamp.write_text(wanted)

    def versions(self) -> dict[str, str]:
        """The installed versions of what its requirements name."""
        names = [requirement.split("==")[0] for requirement in self.requirements]
        script = "import sys, json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
        done = subprocess.run([self.python, "-c", script, *names], check=True, capture_output=True)
        result: dict[str, str] = json.loads(done.stdout)
        return result


def _modelapp(_: Path, case: Case, port: int) -> list[str]:
    words = [sys.executable, "-P", "-m", "modelapp", "-C", str(APPS / case.app), "run"]
    return [*words, "--set", f"server.port={port}", "--set", f"models.{case.app}.max_batch_size={case.batch}"]


def _floor(_: Path, __: Case, port: int) -> list[str]:
    words = [sys.executable, "-P", "-m", "granian", "--interface", "rsgi", "--loop", "uvloop", "--http", "1", "--no-ws"]
    return [*words, "--no-log", "--port", str(port), "floor_server:app"]


def _mosec(_: Path, __: Case, port: int) -> list[str]:
    words = [str(PEERS / "mosec/bin/python"), str(SERVERS / "mosec_server.py"), "--address", "127.0.0.1"]
    return [*words, "--port", str(port), "--timeout", "60000", "--log-level", "error"]


def _litserve(_: Path, __: Case, ___: int) -> list[str]:
    return [str(PEERS / "litserve/bin/python"), str(SERVERS / "litserve_server.py")]


def _bentoml(_: Path, __: Case, port: int) -> list[str]:
    words = [str(PEERS / "bentoml/bin/bentoml"), "serve", "bentoml_server:Server", "--working-dir", str(SERVERS)]
    return [*words, "--host", "127.0.0.1", "--port", str(port), "--do-not-track", "-q"]


def _mlserver(work: Path, case: Case, port: int) -> list[str]:
    settings = {
        "debug": False,
        "parallel_workers": 0,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_endpoint": None,
    }
    (work / "settings.json").write_text(json.dumps(settings))
    settings_of_model = MLSERVER.settings(case)
    model = {"name": case.app, "implementation": "mlserver_server.Model"}
    if settings_of_model.batching:
        model |= {"max_batch_size": case.batch, "max_batch_time": settings_of_model.wait_ms / 1000}
    (work / "model-settings.json").write_text(json.dumps(model))
    return [str(PEERS / "mlserver/bin/mlserver"), "start", str(work)]


OIP = "/v2/models/{model}/infer"
BATCHED = Settings(batching=True)
OURS = System("modelapp", ("modelapp", "granian", "onnxruntime"), OIP, _modelapp, "oip", own=True)
FLOOR = System("granian floor", ("granian", "onnxruntime"), "/", _floor, "oip", own=True)
MOSEC = System(
    "mosec",
    ("mosec==0.9.8", "msgspec==0.22.0", *ONNX),
    "/inference",
    _mosec,
    "row",
    tiny=BATCHED,
    encoder=BATCHED,
)
MOSEC_OIP = attrs.evolve(
    MOSEC,
    name="mosec, OIP JSON",
    wire="oip",
    home="mosec",
    tiny=attrs.evolve(BATCHED, extra={"BENCH_WIRE": "oip"}),
    encoder=attrs.evolve(BATCHED, extra={"BENCH_WIRE": "oip"}),
)
LITSERVE = System(
    "litserve",
    ("litserve==0.2.19", "fastapi==0.165.0", "uvicorn==0.54.0", *ONNX),
    "/predict",
    _litserve,
    "row",
    tiny=Settings(extra={"BENCH_FAST_QUEUE": "1"}),
    encoder=BATCHED,
)
MLSERVER = System(
    "mlserver",
    ("mlserver==1.7.1", "fastapi==0.115.14", "uvicorn==0.54.0", "pydantic==2.14.4", *ONNX),
    OIP,
    _mlserver,
    "oip",
    encoder=BATCHED,
)
BENTOML = System(
    "bentoml",
    ("bentoml==1.4.40", "pydantic==2.14.4", *ONNX),
    "/predict",
    _bentoml,
    "rows",
    tiny=BATCHED,
    encoder=BATCHED,
)
ALL = {system.name: system for system in (FLOOR, OURS, MOSEC, MOSEC_OIP, LITSERVE, MLSERVER, BENTOML)}
