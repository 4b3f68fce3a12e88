"""The gRPC server as the replica starts and stops it; what it is made of is imported only then."""

from typing import TYPE_CHECKING

from modelapp.errors import SurroundingsError
from modelapp.service import Host

if TYPE_CHECKING:
    from modelapp_oip.grpcserver import GrpcServer


class GrpcDoor:
    """Implements `modelapp.service.SideServer`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._server: GrpcServer | None = None

    async def start(self) -> str:
        """Listen on [server] grpc_port. Raises PortInUseError, and SurroundingsError where gRPC is not installed."""
        try:
            from modelapp_oip.grpcserver import GrpcServer
        except ModuleNotFoundError as error:
            told = f"[server] grpc_port is set, and the package {error.name} is not installed"
            raise SurroundingsError(told, help="pip install 'modelapp[grpc]', or grpc_port = 0") from None
        self._server = GrpcServer(self._host)
        return await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Let what is in progress end within `grace_s`."""
        if self._server is not None:
            await self._server.stop(grace_s)
