"""The gRPC server: the protocol's service, health and reflection on a port of its own."""

import errno
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from modelapp.app import Server
from modelapp.errors import PortInUseError, SurroundingsError
from modelapp.service import Host
from modelapp_oip.grpcabout import CALLS, Answerer
from modelapp_oip.grpccall import Context
from modelapp_oip.grpchealth import Health
from modelapp_oip.grpcinfer import GrpcInfer
from modelapp_oip.grpclong import LongCalls
from modelapp_oip.grpcmessages import SERVICE, pool
from modelapp_oip.grpcstream import GrpcStreams

_REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
_DESCRIBED = (SERVICE, "grpc.health.v1.Health")
"""What reflection tells of."""
_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.so_reuseport", 0),  # else a second server on a taken port starts silently
    ("grpc.max_send_message_length", -1),  # what a model answers is the app's own
    ("grpc.max_concurrent_streams", 256),  # of one connection: a quarter of all streams
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 32 * 1024),
    ("grpc.keepalive_time_ms", 60_000),  # finds clients that vanished without a word
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients that ping more often are sent away
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 3),
)


class GrpcServer:
    """Serves until it is stopped. Made on the loop it serves on."""

    def __init__(self, host: Host) -> None:
        self._settings: Server = host.service.app.server
        self._root: Path = host.service.app.root
        infer = GrpcInfer(host)
        self._long_calls = LongCalls()
        self._streams = GrpcStreams(host, infer)
        size = self._settings.max_body_bytes
        self._server = aio.server(options=[*_OPTIONS, ("grpc.max_receive_message_length", size)])
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
        handlers = {name: grpc.unary_unary_rpc_method_handler(Answerer(host, name).serve) for name in CALLS}
        handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(infer.serve)
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._streams.serve)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(Health(host, self._long_calls), self._server)
        self._reflect()

    def _reflect(self) -> None:
        """Answer by both names of the reflection service, whose messages are the same."""
        servicer: Any = reflection.aio.ReflectionServicer(
            _DESCRIBED, pool()
        )  # its types take a generator for a coroutine

        async def reflect(requests: AsyncIterator[Any], context: Context) -> None:
            async def answer() -> None:
                async for described in servicer.ServerReflectionInfo(requests, context):
                    await context.write(described)

            await self._long_calls.run(answer(), context)

        handler = grpc.stream_stream_rpc_method_handler(
            reflect,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        for name in _REFLECTION:
            described = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
            self._server.add_generic_rpc_handlers((described,))

    async def start(self) -> str:
        """Listen; the address for people. Raises PortInUseError and SurroundingsError."""
        host, port = self._settings.host, self._settings.grpc_port
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        secure = bool(self._settings.tls_cert)
        try:
            if secure:
                self._server.add_secure_port(address, self._credentials())
            else:
                self._server.add_insecure_port(address)
        except RuntimeError:
            raise _why_not(host, port) from None
        await self._server.start()
        return f"{'grpcs' if secure else 'grpc'}://{address}"

    async def stop(self, grace_s: float) -> None:
        """Take no more, let what is in progress end within `grace_s`, and free the port."""
        self._long_calls.end()
        self._streams.end()
        await self._server.stop(grace_s)

    def _credentials(self) -> grpc.ServerCredentials:
        try:
            key = (self._root / self._settings.tls_key).read_bytes()
            certificate = (self._root / self._settings.tls_cert).read_bytes()
        except OSError as error:
            raise SurroundingsError(f"the certificate and its key cannot be read: {error}") from None
        return grpc.ssl_server_credentials([(key, certificate)])


def _why_not(host: str, port: int) -> SurroundingsError:
    """Why gRPC could not listen there, which it does not say itself."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return PortInUseError(host, port, key="server.grpc_port")
        return SurroundingsError(f"gRPC cannot listen on port {port} of {host}: {error.strerror}")
    return SurroundingsError(f"gRPC cannot listen on port {port} of {host}")
