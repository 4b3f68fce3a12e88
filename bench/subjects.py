"""The servers under drill: each with the drills' model, its own limits set, and what it offers at all."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from models import APPS
from systems import ALL, PEERS, SERVERS, System

Row = Sequence[float]
OIP_PATH = "/v2/models/drill/infer"
POOLED = attrs.evolve(
    ALL["mlserver"],
    home="mlserver-pool",
    # With newer ones the worker process ends as it starts: they make no event loop where there is none.
    requirements=(*ALL["mlserver"].requirements, "uvloop==0.21.0"),
)
"""MLServer with its pool of workers, its default: a blocking model would else block its server."""


@attrs.frozen
class Setup:
    """What a drill needs of a server. `capacity`: requests it takes at a time, those that run included.

    `workers` is for mosec, which starts a dead worker again only while another one lives; all others have one.
    """

    timeout_s: float = 20.0
    capacity: int = 1000
    load_s: float = 0.0
    load_fails: bool = False
    batch: int = 4
    wait_ms: int = 20
    drain_s: float = 8.0
    workers: int = 1


@attrs.frozen
class Subject:
    """One server. `ready` is the route by which it says that it takes requests; `lacks` what it has no setting for."""

    name: str
    system: System
    command: Callable[[Setup, int, Path], list[str]]
    path: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    ready: str | None
    lacks: frozenset[str] = frozenset()
    configured: str = ""

    def body(self, row: Any) -> bytes:
        """A request of one row, which may be no row at all."""
        return json.dumps(self.encode(row)).encode()

    def answer(self, document: Any) -> Any:
        """The row in an answer, None where there is none."""
        try:
            return self.decode(document)
        except (KeyError, IndexError, TypeError):
            return None

    def environment(self, setup: Setup, port: int, log: Path) -> Mapping[str, str]:
        """The variables that it and its model read."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(SERVERS), os.environ.get("PYTHONPATH")))),
            "PYTHONWARNINGS": "ignore",
            "DRILL_LOG": str(log),
            "DRILL_LOAD_S": str(setup.load_s),
            "DRILL_LOAD_FAILS": str(int(setup.load_fails)),
            "DRILL_BATCH": str(setup.batch),
            "DRILL_WAIT_MS": str(setup.wait_ms),
            "DRILL_TIMEOUT_S": str(setup.timeout_s),
            "DRILL_CAPACITY": str(setup.capacity),
            "DRILL_WORKERS": str(setup.workers),
            "DRILL_PORT": str(port),
        }


def _modelapp(setup: Setup, port: int, _: Path) -> list[str]:
    words = [sys.executable, "-P", "-m", "modelapp", "-C", str(APPS / "drills"), "run"]
    sets = {
        "server.port": port,
        "server.drain_s": max(setup.drain_s, setup.timeout_s),
        "models.double.max_batch_size": setup.batch,
        "models.double.max_queue": max(1, setup.capacity - setup.batch),
        "endpoints.double.timeout_s": setup.timeout_s,
    }
    return [*words, *(word for key, value in sets.items() for word in ("--set", f"{key}={value}"))]


def _mosec(setup: Setup, port: int, _: Path) -> list[str]:
    words = [str(PEERS / "mosec/bin/python"), str(SERVERS / "mosec_drill.py"), "--address", "127.0.0.1"]
    words += ["--port", str(port), "--log-level", "error", "--timeout", str(round(setup.timeout_s * 1000))]
    return [*words, "--capacity", str(setup.capacity)]


def _litserve(_: Setup, __: int, ___: Path) -> list[str]:
    return [str(PEERS / "litserve/bin/python"), str(SERVERS / "litserve_drill.py")]


def _bentoml(_: Setup, port: int, __: Path) -> list[str]:
    words = [str(PEERS / "bentoml/bin/bentoml"), "serve", "bentoml_drill:Server", "--working-dir", str(SERVERS)]
    return [*words, "--host", "127.0.0.1", "--port", str(port), "--do-not-track", "-q"]


def _mlserver(setup: Setup, port: int, work: Path) -> list[str]:
    settings = {
        "debug": False,
        "parallel_workers": 1,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_endpoint": None,
    }
    (work / "settings.json").write_text(json.dumps(settings))
    model: dict[str, Any] = {"name": "drill", "implementation": "mlserver_drill.Model"}
    if setup.batch > 1:
        model |= {"max_batch_size": setup.batch, "max_batch_time": setup.wait_ms / 1000}
    (work / "model-settings.json").write_text(json.dumps(model))
    return [str(POOLED.folder / "bin/mlserver"), "start", str(work)]


def _tensor(row: Any) -> Any:
    width = len(row) if isinstance(row, list | tuple) else 1
    return {"inputs": [{"name": "row", "shape": [1, width], "datatype": "FP32", "data": row}]}


def _row(row: Any) -> Any:
    return {"row": row}


def _rows(row: Any) -> Any:
    return {"rows": [row]}


SUBJECTS: Mapping[str, Subject] = {
    subject.name: subject
    for subject in (
        Subject(
            "modelapp",
            ALL["modelapp"],
            _modelapp,
            "/double",
            _row,
            lambda answer: answer["row"],
            "/readyz",
            configured="`timeout_s`, `max_queue`, `drain_s`, `finite`",
        ),
        Subject(
            "mosec",
            ALL["mosec"],
            _mosec,
            "/inference",
            _row,
            lambda answer: answer["row"],
            None,
            configured="`--timeout`, `--capacity`, ValidationError",
        ),
        Subject(
            "litserve",
            ALL["litserve"],
            _litserve,
            "/predict",
            _row,
            lambda answer: answer["row"],
            "/health",
            frozenset({"bound"}),
            "`timeout`, `max_payload_size`, `restart_workers`, pydantic requests",
        ),
        Subject(
            "bentoml",
            ALL["bentoml"],
            _bentoml,
            "/predict",
            _rows,
            lambda answer: answer[0],
            "/readyz",
            frozenset({"body"}),
            "`traffic.timeout`, `traffic.max_concurrency`, typed rows",
        ),
        Subject(
            "mlserver",
            POOLED,
            _mlserver,
            OIP_PATH,
            _tensor,
            lambda answer: answer["outputs"][0]["data"],
            "/v2/health/ready",
            frozenset({"bound", "timeout", "body"}),
            "`parallel_workers` 1, adaptive batching",
        ),
    )
}
