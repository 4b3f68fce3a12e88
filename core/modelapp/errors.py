"""Every error the product raises on purpose, in one tree.

ModelAppError                     exit code of the command line that ends with it
├── UsageError                    2   a bad command line
├── AppFileError                  3   app.toml is invalid; carries every problem found
├── InconclusiveError             4   nothing could be decided (nothing selected, a plugin absent)
├── LockDriftError                6   what is there is not what app.lock says
├── SurroundingsError             5   the surroundings are at fault
│   ├── PluginError                   a plugin is broken, missing or clashes
│   ├── LoadError                     a model did not load
│   ├── HandlerError                  handlers.py did not import
│   └── PortInUseError                the port is taken
└── RequestError                  -   one request's outcome; carries HTTP status and a metric label
    ├── BadRequest            400     bytes that cannot be read: broken JSON, a cut body
    ├── Unauthorized          401     no bearer token, or an unknown one
    ├── Forbidden             403     a token that may not do this
    ├── NotFound              404     no such route or model
    ├── MethodNotAllowed      405
    ├── SlowBody              408     the body did not arrive in time
    ├── TooLarge              413     body, also after inflating
    ├── UnsupportedMedia      415
    ├── InvalidInput          422     readable, but not what was declared; names the field
    ├── QueueFull             429     with Retry-After
    ├── RateLimited           429     more requests a second than allowed; with Retry-After
    ├── Cancelled             499     the client left
    ├── ModelFailed           500     the model raised, or answered what it did not declare
    ├── NotReady              503     starting, draining, or the model did not load; with Retry-After
    ├── ModelDied             503     the model can answer no more until it is loaded again
    ├── OutOfMemory           503
    └── DeadlineExceeded      504     queue time included
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing import Self

    from modelapp.problems import Problem


class ModelAppError(Exception):
    """Base of all; `message` says what is wrong, `help` what to do about it."""

    exit_code: ClassVar[int] = 5

    def __init__(self, message: str, *, help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.help = help

    def __str__(self) -> str:
        return f"{self.message}\n  help: {self.help}" if self.help else self.message


class UsageError(ModelAppError):
    """The command line cannot be understood."""

    exit_code = 2


class AppFileError(ModelAppError):
    """app.toml is invalid; `problems` holds all that is wrong with it, sorted by place."""

    exit_code = 3

    def __init__(self, problems: "Sequence[Problem]") -> None:
        super().__init__("\n".join(problem.render() for problem in problems))
        self.problems = tuple(problems)


class InconclusiveError(ModelAppError):
    """Neither pass nor fail: there was nothing to decide on."""

    exit_code = 4


class LockDriftError(ModelAppError):
    """What is there is not what app.lock says; `differences` are plain JSON values, one each."""

    exit_code = 6

    def __init__(self, message: str, *, differences: "Sequence[Mapping[str, Any]]" = (), help: str = "") -> None:
        super().__init__(message, help=help)
        self.differences = tuple(differences)


class SurroundingsError(ModelAppError):
    """The machine, an installation or a model file is at fault, not app.toml."""

    exit_code = 5


class PluginError(SurroundingsError):
    """A plugin is broken, missing, or two of them clash."""

    def __init__(
        self,
        message: str,
        *,
        plugin: str,
        distribution: str = "",
        version: str = "",
        help: str = "",
    ) -> None:
        super().__init__(message, help=help)
        self.plugin = plugin
        self.distribution = distribution
        self.version = version


class LoadError(SurroundingsError):
    """A model could not be loaded; `model` is its name in app.toml ("" where not known yet)."""

    def __init__(self, message: str, *, model: str = "", help: str = "") -> None:
        super().__init__(message, help=help)
        self.model = model


class HandlerError(SurroundingsError):
    """handlers.py did not import or lacks what app.toml names; `place` is file:line."""

    def __init__(self, message: str, *, place: str, help: str = "") -> None:
        super().__init__(message, help=help)
        self.place = place


class PortInUseError(SurroundingsError):
    """Another process listens on the port, which `key` of app.toml names."""

    def __init__(self, host: str, port: int, *, key: str = "server.port") -> None:
        super().__init__(
            f"port {port} on {host} is taken by another process",
            help=f"stop that process, or choose another port: modelapp run --set {key}={port + 1}",
        )
        self.host = host
        self.port = port


class RequestError(ModelAppError):
    """One request's failure. Subclasses fix the HTTP status and the code that metrics use as a label."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        retry_after_s: float | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.field = field
        self.retry_after_s = retry_after_s
        self.headers = tuple(headers)

    def again(self) -> "Self":
        """An equal error without traceback, for another request with the same outcome."""
        fresh = type(self).__new__(type(self), *self.args)  # not by its constructor: an app's own takes what it likes
        fresh.__dict__.update(self.__dict__)
        return fresh


class BadRequest(RequestError):
    """The bytes cannot be read as what they claim to be."""

    status, code = 400, "bad_request"


class Unauthorized(RequestError):
    """The request carries no bearer token, or one that is not known."""

    status, code = 401, "unauthorized"


class Forbidden(RequestError):
    """The token is known and may not do this."""

    status, code = 403, "forbidden"


class NotFound(RequestError):
    """No such route, model or version."""

    status, code = 404, "not_found"


class MethodNotAllowed(RequestError):
    """The route exists, for other methods."""

    status, code = 405, "method_not_allowed"


class SlowBody(RequestError):
    """The client did not send its body in time."""

    status, code = 408, "slow_body"


class TooLarge(RequestError):
    """The body is over its limit."""

    status, code = 413, "too_large"


class UnsupportedMedia(RequestError):
    """The content type is none that this route reads."""

    status, code = 415, "unsupported_media"


class InvalidInput(RequestError):
    """Readable, but not what was declared; `field` names the input."""

    status, code = 422, "invalid_input"


class QueueFull(RequestError):
    """The model's queue is at its bound; Retry-After says when a place should be free."""

    status, code = 429, "queue_full"


class RateLimited(RequestError):
    """More requests a second than the server or the token allows; Retry-After says when the next one may come."""

    status, code = 429, "rate_limited"


class Cancelled(RequestError):
    """The client left before the answer."""

    status, code = 499, "cancelled"


class ModelFailed(RequestError):
    """The model raised, or answered something it did not declare."""

    status, code = 500, "model_failed"


class NotReady(RequestError):
    """The replica, or one model, takes no requests now."""

    status, code = 503, "not_ready"


class ModelDied(RequestError):
    """The model, or the device it ran on, can answer no more until it is loaded again: the replica ends itself."""

    status, code = 503, "model_died"


class OutOfMemory(RequestError):
    """The run did not fit into memory."""

    status, code = 503, "out_of_memory"


_MEMORY_MARKS = (
    "defaultcpuallocator",  # torch on the CPU
    "out of memory",  # devices
    "failed to allocate memory",  # ONNX Runtime
    "bfc_arena",
    "bad_alloc",  # C++
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, of whatever library, says that memory did not suffice; few have a class for it."""
    if isinstance(error, (MemoryError, OutOfMemory)):
        return True
    if isinstance(error, ModelAppError):
        return False
    text = str(error).lower()
    return any(mark in text for mark in _MEMORY_MARKS)


class DeadlineExceeded(RequestError):
    """The time allowed for the request, queueing included, is over."""

    status, code = 504, "deadline_exceeded"


def request_codes() -> dict[str, int]:
    """The code of every request error that is defined here, and its HTTP status."""

    def below(error: type[RequestError]) -> dict[str, int]:
        found = {error.code: error.status}
        for kind in error.__subclasses__():
            if kind.__module__ == __name__:
                found |= below(kind)
        return found

    return below(RequestError)
