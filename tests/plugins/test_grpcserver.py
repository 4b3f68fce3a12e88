"""The gRPC server around its service: its port, health, reflection, tokens, TLS, and its end."""

import asyncio
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from modelapp.app import App, AppInfo, Server
from modelapp.errors import SurroundingsError
from modelapp.testing import AppProject, RunningApp, free_port
from modelapp_oip import modelapp_features, modelapp_servers
from modelapp_oip.grpcdoor import GrpcDoor
from modelapp_oip.grpcmessages import SERVICE, message

APP = """
[app]
name = "numbers"

[models.affine]
source = "handlers.py"
runtime = "null"
[models.affine.null]
inputs = { x = "float32[batch, ?]" }
scale = 2.0

[models.slow]
source = "handlers.py"
runtime = "null"
max_batch_size = 1
max_queue = 1
[models.slow.null]
delay_ms = 600
"""
STATES = health_pb2.HealthCheckResponse


class Serving:
    """An app and a channel to its gRPC service."""

    def __init__(self, app: RunningApp, port: int) -> None:
        self.app = app
        self.port = port
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def call(self, method: str, **fields: Any) -> Any:
        """The call of a method with one message in and one out."""
        metadata = fields.pop("metadata", ())
        return self._method(method)(message(f"{method}Request")(**fields), metadata=metadata, timeout=20)

    def infer(self, value: float = 1.0, model: str = "affine", **more: Any) -> Any:
        """The answer to one row."""
        return self._method("ModelInfer")(request(value, model), timeout=20, **more)

    def future(self, value: float = 1.0, model: str = "affine", **more: Any) -> Any:
        """The same, not waited for."""
        return self._method("ModelInfer").future(request(value, model), timeout=20, **more)

    def code_of_large(self) -> grpc.StatusCode:
        """What a message of 4 kB is answered with."""
        built = message("ModelInferRequest")(model_name="affine", raw_input_contents=[bytes(4000)])
        built.inputs.add(name="x", datatype="FP32", shape=[1, 1000])
        return self._method("ModelInfer").future(built, timeout=20).code()

    def stream(self, requests: Iterator[Any], **more: Any) -> Any:
        """A stream."""
        return self.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=message("ModelInferRequest").SerializeToString,
            response_deserializer=message("ModelStreamInferResponse").FromString,
        )(requests, **more)

    def _method(self, name: str) -> Any:
        return self.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=message(f"{name}Request").SerializeToString,
            response_deserializer=message(f"{name}Response").FromString,
        )


def request(value: float = 1.0, model: str = "affine", id: str = "") -> Any:
    """One typed row."""
    built = message("ModelInferRequest")(model_name=model, id=id)
    built.inputs.add(name="x", datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(value)
    return built


def value_of(answer: Any) -> float:
    """The one number of a typed answer."""
    return float(answer.outputs[0].contents.fp32_contents[0])


Serve = Callable[..., Any]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """serve(app, *arguments) is a context manager that gives a `Serving`."""

    @contextmanager
    def start(app: str = APP, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Serving]:
        project = AppProject(tmp_path / "numbers").write(app, handlers="# the null runtime reads nothing\n")
        port = free_port()
        with project.serve("--set", f"server.grpc_port={port}", *arguments, env=env) as running:
            serving = Serving(running, port)
            yield serving
            serving.channel.close()

    return start


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The app above, for tests that leave it as it is."""
    project = AppProject(tmp_path_factory.mktemp("numbers")).write(APP, handlers="# nothing\n")
    port = free_port()
    with project.serve("--set", f"server.grpc_port={port}") as app:
        serving = Serving(app, port)
        yield serving
        serving.channel.close()


def test_typed_contents_are_answered_typed(plain: Serving) -> None:
    """A stub made of the protocol's own file gets its numbers in the field it sent them in."""
    answer = plain.infer(3)
    assert (value_of(answer), list(answer.raw_output_contents)) == (6, [])


KSERVE = """
import asyncio, sys, warnings
warnings.simplefilter("ignore")
import logging
logging.disable()
import numpy as np
from kserve import InferInput, InferRequest, InferenceGRPCClient

async def main():
    client = InferenceGRPCClient(url=sys.argv[1])
    assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready("affine")
    raw = InferInput("x", [1, 1], "FP32")
    raw.set_data_from_numpy(np.array([[3]], np.float32), binary_data=True)
    for sent in (raw, InferInput("x", [1, 1], "FP32", data=[3.0])):
        answer = await client.infer(InferRequest("affine", [sent]))
        assert answer.outputs[0].as_numpy().tolist() == [[6.0]]
    await client.close()

asyncio.run(main())
"""


@pytest.mark.slow
def test_kserves_client(plain: Serving) -> None:
    """Unmodified, raw and typed; in a process of its own, since its messages bear the names of Triton's."""
    words = [sys.executable, "-c", KSERVE, f"127.0.0.1:{plain.port}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_health_of_all_and_of_each_model(plain: Serving) -> None:
    """The whole under two names, each model under its own, and nothing under any other."""
    for service in ("", SERVICE, "affine"):
        assert plain.health.Check(health_pb2.HealthCheckRequest(service=service)).status == STATES.SERVING
    with pytest.raises(grpc.RpcError) as failed:
        plain.health.Check(health_pb2.HealthCheckRequest(service="none"))
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    watch = plain.health.Watch(health_pb2.HealthCheckRequest(service="none"))
    assert next(watch).status == STATES.SERVICE_UNKNOWN
    watch.cancel()


def test_tools_learn_by_reflection_what_is_served(plain: Serving) -> None:
    """Services, and the types of their methods, as they are on the wire; by the older name and the newer one."""
    found = ProtoReflectionDescriptorDatabase(plain.channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(found.get_services())
    pool = descriptor_pool.DescriptorPool(found)
    method = pool.FindServiceByName(SERVICE).methods_by_name["ModelStreamInfer"]
    assert method.input_type.fields_by_name["raw_input_contents"].number == 7
    assert pool.FindServiceByName("grpc.health.v1.Health").methods_by_name["Watch"].server_streaming
    newer = plain.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    assert SERVICE.encode() in next(newer(iter([b"\x3a\x01*"])))


def test_an_unknown_method_is_unimplemented(plain: Serving) -> None:
    """As the calls that register shared memory are."""
    with pytest.raises(grpc.RpcError) as failed:
        plain.channel.unary_unary(f"/{SERVICE}/SystemSharedMemoryStatus")(b"")
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_refused_request_learns_when_to_come_again(plain: Serving) -> None:
    """A full queue is RESOURCE_EXHAUSTED, with the time in the metadata behind it."""
    waiting = [plain.future(model="slow") for _ in range(6)]
    refused = [one for one in waiting if one.code() is grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert 1 <= len(refused) <= 5
    told = dict(refused[0].trailing_metadata())
    assert 0 < int(told["retry-after-ms"]) <= 1000 * int(told["retry-after"])


def test_a_bad_message_does_not_end_a_stream(plain: Serving) -> None:
    """It has its answer, at its place, and the next request has its own."""
    stream = plain.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(
        iter([b"\xff\xff", request(2, id="b").SerializeToString()])
    )
    first, second = (message("ModelStreamInferResponse").FromString(one) for one in stream)
    assert "no message" in first.error_message
    assert (second.error_message, second.infer_response.id, value_of(second.infer_response)) == ("", "b", 4)


def test_a_silent_client_is_served_no_further_than_its_window(plain: Serving) -> None:
    """A client that reads nothing does not make the replica take ever more requests in."""
    sent = 0

    def requests() -> Iterator[Any]:
        nonlocal sent
        big = message("ModelInferRequest")(model_name="affine", raw_input_contents=[bytes(400_000)])
        big.inputs.add(name="x", datatype="FP32", shape=[1, 100_000])
        for _ in range(300):
            sent += 1
            yield big

    stream = plain.stream(requests())
    deadline = time.monotonic() + 3
    before = -1
    while before != sent and time.monotonic() < deadline:
        before = sent
        time.sleep(0.5)
    assert 0 < sent < 200
    stream.cancel()


@pytest.mark.slow
def test_stopping_loses_nothing(serve: Serve) -> None:
    """A call in progress is answered; watchers hear at once that nothing more is served; then the door closes."""
    with serve() as serving:
        watched: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=watch, args=(serving, watched), daemon=True).start()
        assert watched.get(timeout=10) == STATES.SERVING
        running = serving.future(model="slow")
        time.sleep(0.2)

        outcome: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=lambda: outcome.put(serving.app.stop()), daemon=True).start()

        assert watched.get(timeout=5) == STATES.NOT_SERVING
        assert serving.call("ServerReady").ready is False
        assert value_of(serving.infer()) == 2  # the lame duck still answers everyone
        assert value_of(running.result()) == 1
        assert watched.get(timeout=20) is grpc.StatusCode.UNAVAILABLE
        stopped = outcome.get(timeout=30)
        assert stopped.exit_code == 0, stopped
        with pytest.raises(grpc.RpcError) as failed:
            serving.infer()
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


def watch(serving: Serving, told: "queue.Queue[Any]") -> None:
    """Put every state into `told`, then the code that the watch ends with."""
    try:
        for answer in serving.health.Watch(health_pb2.HealthCheckRequest(service="affine")):
            told.put(answer.status)
    except grpc.RpcError as error:
        told.put(error.code())


@pytest.mark.slow
def test_an_open_stream_hears_that_it_is_over(serve: Serve) -> None:
    """What it asked is answered first; an idle stream does not keep the replica from ending."""
    with serve() as serving:
        asked: queue.Queue[Any] = queue.Queue()
        stream = serving.stream(iter(asked.get, None))
        asked.put(request(1))
        assert value_of(next(stream).infer_response) == 2
        asked.put(request(5, model="slow"))
        time.sleep(0.2)

        started = time.monotonic()
        stopped = serving.app.stop()

        assert stopped.exit_code == 0, stopped
        assert time.monotonic() - started < 20
        assert value_of(next(stream).infer_response) == 5
        with pytest.raises(grpc.RpcError) as failed:
            next(stream)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        asked.put(None)


TOKENS = """
[server]
tokens_env = "KEYS"
[server.tokens.reader]
models = ["affine"]
rate_per_s = 1000
[server.tokens.boss]
admin = true
"""


def bearer(token: str) -> dict[str, Any]:
    """The metadata that carries a token."""
    return {"metadata": (("authorization", f"Bearer {token}"),)}


def test_tokens_open_the_same_doors_as_by_http(serve: Serve) -> None:
    """None: UNAUTHENTICATED; for another model: PERMISSION_DENIED; health needs none; only an admin unloads."""
    secrets = {"KEYS": "reader=open-sesame-open-sesame,boss=the-boss-the-boss-the-boss"}
    with serve(APP + TOKENS, env=secrets) as serving:
        assert serving.call("ServerReady").ready
        assert value_of(serving.infer(**bearer("open-sesame-open-sesame"))) == 2
        for more, model, code in (
            ({}, "affine", grpc.StatusCode.UNAUTHENTICATED),
            (bearer("wrong"), "affine", grpc.StatusCode.UNAUTHENTICATED),
            (bearer("open-sesame-open-sesame"), "slow", grpc.StatusCode.PERMISSION_DENIED),
        ):
            with pytest.raises(grpc.RpcError) as failed:
                serving.infer(model=model, **more)
            assert failed.value.code() is code
        with pytest.raises(grpc.RpcError) as failed:
            next(serving.stream(iter([request()])))
        assert failed.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as failed:
            serving.call("RepositoryModelUnload", model_name="affine", **bearer("open-sesame-open-sesame"))
        assert failed.value.code() is grpc.StatusCode.PERMISSION_DENIED

        boss = bearer("the-boss-the-boss-the-boss")
        serving.call("RepositoryModelUnload", model_name="affine", **boss)
        check = health_pb2.HealthCheckRequest(service="affine")
        assert serving.health.Check(check).status == STATES.NOT_SERVING
        serving.call("RepositoryModelLoad", model_name="affine", **boss)
        assert serving.health.Check(check).status == STATES.SERVING
        assert "sesame" not in str(serving.app.output)


@pytest.mark.slow
def test_nobody_is_served_before_the_models_are_ready(tmp_path: Path) -> None:
    """The port is open while models load; health says not yet, and requests are UNAVAILABLE."""
    app = APP + "load_delay_ms = 2000\n"
    port = free_port()
    project = AppProject(tmp_path / "numbers").write(app, handlers="# nothing\n")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "modelapp",
            "run",
            "--set",
            f"server.port={free_port()}",
            "--set",
            f"server.grpc_port={port}",
        ],
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        serving = Serving(None, port)  # type: ignore[arg-type]
        check = health_pb2.HealthCheckRequest()
        status = serving.health.Check(check, wait_for_ready=True, timeout=20).status
        assert status == STATES.NOT_SERVING
        with pytest.raises(grpc.RpcError) as failed:
            serving.infer()
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        watched = (one.status for one in serving.health.Watch(check, timeout=30))
        assert [next(watched), next(watched)] == [STATES.NOT_SERVING, STATES.SERVING]
        serving.channel.close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_taken_port_is_told(tmp_path: Path, plain: Serving) -> None:
    """The command ends and names the key to change; nothing shares the port."""
    project = AppProject(tmp_path / "second").write(APP, handlers="# nothing\n")
    ended = project.run("run", "--set", f"server.port={free_port()}", "--set", f"server.grpc_port={plain.port}")
    assert ended.exit_code == 5
    assert f"port {plain.port} on 127.0.0.1 is taken" in ended.stderr
    assert f"--set server.grpc_port={plain.port + 1}" in ended.stderr


@pytest.mark.slow
def test_a_change_of_the_app_is_taken_over(serve: Serve, tmp_path: Path) -> None:
    """With `run --watch` the next request meets the new model, on the connection it had."""
    with serve(APP, "--watch") as serving:
        assert value_of(serving.infer(3)) == 6
        under_way = serving.future(4, model="slow")
        changed = APP.replace("scale = 2.0", "scale = 5.0").replace("delay_ms = 600", "delay_ms = 600\nscale = 5.0")
        (tmp_path / "numbers" / "app.toml").write_text(changed)
        deadline = time.monotonic() + 30
        while value_of(serving.infer(3)) != 15 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert value_of(serving.infer(3)) == 15
        assert value_of(under_way.result()) == 4

        (tmp_path / "numbers" / "app.toml").write_text(f"{changed}[server]\nmax_body_mb = 0.001\n")
        deadline = time.monotonic() + 30
        while serving.code_of_large() is grpc.StatusCode.OK and time.monotonic() < deadline:
            time.sleep(0.05)
        assert serving.code_of_large() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.slow
def test_tls_with_the_certificate_of_the_app(serve: Serve, tmp_path: Path) -> None:
    """The same certificate and key as for HTTPS; nothing is served in the clear."""
    (tmp_path / "numbers").mkdir()
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        [*words.split(), "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path / "numbers",
        check=True,
        capture_output=True,
    )
    port = free_port()
    project = AppProject(tmp_path / "numbers").write(APP, handlers="# nothing\n")
    settings = [
        f"server.port={free_port()}",
        f"server.grpc_port={port}",
        'server.tls_cert="cert.pem"',
        'server.tls_key="key.pem"',
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "modelapp", "run", *(word for one in settings for word in ("--set", one))],
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        credentials = grpc.ssl_channel_credentials((tmp_path / "numbers" / "cert.pem").read_bytes())
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            assert health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=20).status
        with grpc.insecure_channel(f"localhost:{port}") as channel, pytest.raises(grpc.RpcError):
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def host(port: int) -> Any:
    """As much of a replica as is looked at before anything listens."""
    return SimpleNamespace(service=SimpleNamespace(app=App(app=AppInfo(name="a"), server=Server(grpc_port=port))))


def test_it_is_off_unless_it_has_a_port() -> None:
    """grpc_port = 0, the default, brings no server."""
    assert list(modelapp_servers(host(0))) == []
    assert [type(one) for one in modelapp_servers(host(9000))] == [GrpcDoor]


def test_what_is_lacking_is_told_without_a_port_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`modelapp plugins` says whether gRPC can be had, and imports nothing for it."""
    (feature,) = modelapp_features()
    assert (feature.name, feature.probe().ok) == ("grpc", True)
    monkeypatch.setattr("modelapp_oip.find_spec", lambda name: None if name == "grpc_health" else object())
    lacking = feature.probe()
    assert (lacking.missing, lacking.fix) == ("the package grpc_health", "pip install 'modelapp[grpc]'")


def test_without_grpc_the_command_that_brings_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port for gRPC without gRPC is an error, not an app without that door."""
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "modelapp_oip.grpcserver", raising=False)
    for name in [
        name for name in sys.modules if name.startswith("modelapp_oip.grpc") and name != "modelapp_oip.grpcdoor"
    ]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SurroundingsError, match="the package grpc is not installed") as failed:
        asyncio.run(GrpcDoor(host(9000)).start())
    assert failed.value.help.startswith("pip install 'modelapp[grpc]'")


def resident_mb(plain: Serving) -> float:
    """Memory of the processes below the app's."""
    tasks = Path(f"/proc/{plain.app.pid}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return sum(int(Path(f"/proc/{child}/statm").read_text().split()[1]) * 4096 for child in children) / 1e6


@pytest.mark.slow
def test_refused_requests_leave_nothing_in_memory(plain: Serving) -> None:
    """Neither their messages nor names that their clients made up, which may be megabytes each."""
    before_mb = resident_mb(plain)
    for number in range(100):
        for method, field in (("ModelReady", "name"), ("ModelInfer", "model_name")):
            with pytest.raises(grpc.RpcError):
                plain.call(method, **{field: f"{number}{'x' * 1_000_000}"})
    assert resident_mb(plain) - before_mb < 80
