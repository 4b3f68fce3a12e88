"""What a protocol plugin may ask of the replica it answers for."""

from collections.abc import Mapping
from typing import Protocol

import attrs

from modelapp.app import App
from modelapp.call import Call
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
    def runtime(self) -> str:
        """The name of the runtime that serves it."""
        ...

    @property
    def signature(self) -> Signature | None:
        """What goes in and comes out."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it answered its warm-up and takes requests."""
        ...

    async def infer(self, rows: Rows, call: Call) -> Rows:
        """Check, batch and run; raises RequestError. Answers are in the order of the rows."""
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
