"""What a protocol plugin may ask of the replica it answers for."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import attrs

from modelapp.app import App, Model
from modelapp.call import Call
from modelapp.errors import NotReady
from modelapp.generating import Piece
from modelapp.observing import InProgress, ModelFigures
from modelapp.routes import Access, ProtocolRoutes
from modelapp.runtime import Rows
from modelapp.signature import Signature


@attrs.frozen
class Readiness:
    """Whether the replica takes requests; `reason` says why not. `models` and `endpoints` tell each by name."""

    ready: bool
    reason: str
    models: Mapping[str, bool]
    endpoints: Mapping[str, bool]


class ModelService(Protocol):
    """One model as protocols see it. `signature` is None until the model is loaded."""

    @property
    def name(self) -> str:
        """Its name in app.toml."""
        ...

    @property
    def model(self) -> Model:
        """Its table in app.toml: batching bounds and all else."""
        ...

    @property
    def runtime(self) -> str:
        """The name of the runtime that serves it."""
        ...

    @property
    def signature(self) -> Signature | None:
        """What goes in and comes out."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """The class names of its `labels` file, in order; none before it is loaded."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it answered its warm-up and takes requests."""
        ...

    @property
    def figures(self) -> ModelFigures:
        """Sums over its runs since it was loaded."""
        ...

    @property
    def private(self) -> bool:
        """Whether an endpoint with sensitive fields works with it, so that no text of an exception may be shown."""
        ...

    def not_ready(self) -> NotReady:
        """The error for a request that comes while it takes none, which says why."""
        ...

    @property
    def in_progress(self) -> InProgress | None:
        """What a model that generates works on now; None of any other."""
        ...

    @property
    def waiting_rows(self) -> int:
        """Rows in its queue."""
        ...

    @property
    def streams(self) -> bool:
        """Whether it can answer piece by piece; told once it is loaded."""
        ...

    async def infer(self, rows: Rows, call: Call) -> Rows:
        """Check, batch and run; raises RequestError. Answers are in the order of the rows."""
        ...

    def stream(self, row: Mapping[str, Any], call: Call) -> AsyncIterator[Piece]:
        """The answer to one record as it comes into being; only where it `streams`. Raises RequestError.

        Whoever takes no more of it closes it, and the model works for it no longer.
        """
        ...


class Service(Protocol):
    """The replica."""

    @property
    def app(self) -> App:
        """The app it serves."""
        ...

    @property
    def release(self) -> str:
        """The release it serves."""
        ...

    @property
    def models(self) -> Mapping[str, ModelService]:
        """Every model, also one that is not ready."""
        ...

    def readiness(self) -> Readiness:
        """Whether it takes requests now."""
        ...

    async def load(self, name: str) -> None:
        """Load a model anew, from its files as they are now, and warm it up; the one that is loaded answers until then.

        Raises NotFound, NotReady while the replica starts or stops, ModelFailed where it does not load.
        """
        ...

    async def unload(self, name: str) -> None:
        """Take no more requests for a model, finish those it has, and give its memory back.

        Until it is loaded again it is not ready, and neither is the app if it requires it. Raises NotFound, NotReady.
        """
        ...


class Host(Protocol):
    """The replica's process, for what a plugin runs beside the HTTP server: another port, a watcher."""

    @property
    def service(self) -> Service:
        """What is served now; a change of the app's files brings another."""
        ...

    @property
    def in_flight(self) -> int:
        """Requests in progress, by every door."""
        ...

    def side_door(self, protocol: ProtocolRoutes, *, port: int, key: str) -> "SideServer":
        """An HTTP server for one protocol on a port of its own, under the same tokens, limits and TLS.

        `key` is what names the port in app.toml, for the error where it is taken.
        """
        ...

    def request(
        self, call: Call, access: Access, name: str = "", *, always: bool = False
    ) -> AbstractContextManager[None]:
        """One request that came by another door, from its admission to its end, under the limits of them all.

        `always`: also while the replica takes no requests. Raises RequestError where it is not admitted. What is raised
        inside becomes the request's outcome, and passes.
        """
        ...


@runtime_checkable
class SideServer(Protocol):
    """A server on a port of its own, in the replica's process and on its loop."""

    async def start(self) -> str:
        """Listen. Its address for people, e.g. "grpc://127.0.0.1:9000". Raises PortInUseError."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Take nothing more, let what is under way end for `grace_s` at most, and free the port."""
        ...
