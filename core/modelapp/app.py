"""The classes app.toml is read into. One class a table, one attribute a key; `doc` metadata feeds the reference."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from modelapp.deployment import Deploy
from modelapp.fieldtype import FieldType
from modelapp.guarantees import Guarantees
from modelapp.jobs import Job
from modelapp.keys import key

BYTES_PER_MB = 1024 * 1024
SCHEMA_VERSION = 1
"""The version of the file format that is read; `modelapp upgrade` raises a file to it."""


@attrs.frozen(kw_only=True)
class AppInfo:
    """[app]"""

    name: str = key("lower-case letters, digits and dashes; becomes part of URLs and job names")
    description: str = key("one sentence for people", default="")
    schema_version: int = key("the version of this file format", default=1, min=1)
    requires: str = key('the modelapp versions the app works with, e.g. ">=0.1"', default="")
    plugins: tuple[str, ...] = key('distributions with plugins the app needs, e.g. "acme>=1"', default=())
    seed: int = key("stands for chance in tests that have no seed of their own", default=0, min=0)
    env: tuple[str, ...] = key("names of environment variables the app's code reads", default=(), pending=True)
    requirements: str = key(
        "a requirements file with pinned versions: the app has an environment of its own", default=""
    )
    python: str = key('the Python of that environment, e.g. "3.12"', default="")
    state: str = key("a folder or object store for results, checkpoints and records", default="", pending=True)


@attrs.frozen(kw_only=True)
class Pad:
    """How ragged rows of one input are made equally long before they share a batch."""

    value: float = key("what the padding is filled with", default=0)
    side: Literal["left", "right"] = key("where the padding goes", default="right")


@attrs.frozen(kw_only=True)
class Generation:
    """[models.NAME.generation]: a model that answers token by token."""

    max_tokens: int = key("the most tokens of an answer, unless the request says otherwise", default=128, min=1)
    temperature: float | None = key(
        "how freely it draws, unless the request says otherwise; default: the protocol's, else 0, the likeliest token",
        default=None,
        min=0,
    )
    context_tokens: int = key("the most tokens of prompt and answer together; 0: the model's own", default=0, min=0)
    cache_mb: int = key("memory for what is kept of sequences in progress", default=1024, min=1)
    step_tokens: int = key("the most tokens of one step; longer prompts are read over several", default=256, min=1)
    reuse_prefixes: bool = key("prompts that begin alike are read once, while memory lasts", default=True)


@attrs.frozen(kw_only=True)
class Model:
    """[models.NAME]"""

    name: str = attrs.field(metadata={"from_header": True})
    source: str = key('a path beside app.toml, "package:NAME/path", or "handlers.py:Class" for the python runtime')
    runtime: str = key("the name of a runtime plugin")
    revision: str = key("which version of a remote source", default="", pending=True)
    task: str = key("what the model does, which says what it takes and gives", default="")
    labels: str = key("a file with one class name a line", default="")
    files: Mapping[str, str] = key("further files the model needs, each a source", factory=dict)
    device: str = key("where it runs", default="cpu")
    max_batch_size: int = key("the most rows one run may hold", default=1, min=1)
    max_wait_ms: float = key("the longest a row may wait for company while the model is idle", default=0, min=0)
    max_batch_cost: float = key("the most cost one run may hold; 0: no bound", default=0, min=0)
    cost: Literal["rows", "tokens", "padded_tokens"] = key("what a request costs", default="rows")
    buckets: tuple[int | tuple[int, ...], ...] = key("lengths or shapes that rows are padded to", default=())
    priority_levels: int = key("how many levels of priority requests may have", default=1, min=1)
    max_queue: int = key("the most rows that may wait; one more is refused with 429", default=64, min=1)
    concurrency: int = key("runs at the same time, where the runtime can", default=1, min=1)
    threads: int = key("threads of one run; 0: the cores shared among replicas", default=0, min=0)
    pad: Mapping[str, Pad] = key("inputs whose rows may differ in length, and how they are padded", factory=dict)
    finite: bool = key("an output row with NaN or infinity is an error", default=False)
    rerun: bool = key("a failed batch may be split and run again to find the offender", default=True)
    required: bool = key("the app is ready only when this model is", default=True)
    preload: bool = key("loaded at the start; false: on the first request", default=True, pending=True)
    idle_unload_s: float = key("unloaded after this long without a request; 0: never", default=0, min=0, pending=True)
    memory_mb: int = key("memory it needs; 0: not known", default=0, min=0, pending=True)
    warmup_calls: int = key("runs on a warm-up example before the model counts as ready", default=1, min=0)
    preprocess: str = key('"file.py:function" applied to one request before the model', default="")
    postprocess: str = key('"file.py:function" applied to one answer after the model', default="")
    generation_table: Generation | None = key(
        "how it generates; [models.NAME.generation]", default=None, name="generation"
    )
    options: Any = attrs.field(default=None, metadata={"plugin": "runtime"})
    """[models.NAME.<runtime>], as an instance of the runtime's options class."""

    @property
    def generation(self) -> Generation:
        """How it generates, where it does: what app.toml says, and the defaults."""
        return self.generation_table or Generation()


@attrs.frozen(kw_only=True)
class Field:
    """One declared input or output of an endpoint."""

    name: str = attrs.field(metadata={"from_header": True})
    type: FieldType = key('a type word, e.g. "str", "list[float]", "image", "int?"')
    default: Any = key("used when the request leaves the field out", factory=lambda: attrs.NOTHING)
    doc: str = key("one sentence for people", default="")
    min: float | None = key("smallest value of a number", default=None)
    max: float | None = key("largest value of a number", default=None)
    min_chars: int | None = key("fewest characters of a str", default=None, min=0)
    max_chars: int | None = key("most characters of a str", default=None, min=0)
    min_items: int | None = key("fewest items of a list", default=None, min=0)
    max_items: int | None = key("most items of a list", default=None, min=0)
    pattern: str = key("a regular expression that a str must match somewhere", default="")
    choices: tuple[Any, ...] = key("the only values allowed; in a list, of its items", default=())
    max_side_px: int | None = key("longest side of an image, in pixels", default=None, min=1)
    max_seconds: float | None = key("longest audio or video, in seconds", default=None, min=0)
    dtype: str = key("element type of a tensor", default="float32")
    shape: tuple[int, ...] = key("dimensions of a tensor; -1: any", default=())
    fields: Mapping[str, "Field"] = key("the fields of a record", factory=dict)
    fields_from: str = key("a TOML file with the fields of a record, one entry a field", default="")
    sensitive: bool = key("its values are masked wherever they would be shown or kept", default=False)
    allow_hosts: tuple[str, ...] = key("hosts from which a URL in its place may be fetched", default=())

    @property
    def required(self) -> bool:
        """Whether a request must carry it."""
        return self.default is attrs.NOTHING and not self.type.nullable


@attrs.frozen(kw_only=True)
class Step:
    """One step of an endpoint: a model, or a function of handlers.py."""

    name: str = key("what later steps call its result")
    run: str = key('a model, or "file.py:function"')
    needs: tuple[str, ...] = key("input fields or earlier steps", default=())


@attrs.frozen(kw_only=True)
class Split:
    """Traffic shared among models: one of them answers each request."""

    arms: Mapping[str, float] = key("model -> share of the traffic, in percent; they sum to 100")
    by: str = key("header or input field that keeps a caller on one arm; absent: random", default="")


@attrs.frozen(kw_only=True)
class Endpoint:
    """[endpoints.NAME]: exactly one of `model`, `steps` and `split`."""

    name: str = attrs.field(metadata={"from_header": True})
    model: str = key("the model that answers", default="")
    steps: tuple[Step, ...] = key("models and functions, each fed by input fields and earlier steps", default=())
    split: Split | None = key("models that share the traffic", default=None)
    path: str = key("the URL path; default: / and the name", default="")
    timeout_s: float = key("time allowed for a request, queueing included", default=30, min=0.001)
    stream: bool = key("the answer is sent as it comes into being", default=False)
    is_async: bool = key(
        "a request is answered with an id, and the result fetched later", default=False, name="async", pending=True
    )
    keep_s: float = key("how long a result of an async endpoint is kept", default=86400, min=1, pending=True)
    idempotent: bool | None = key(
        "sending a request twice does no harm; default: when every step is a model", default=None, pending=True
    )
    access_log: Literal["sample", "all", "off"] = key(
        "which requests are logged; sample: errors, the slowest and 1 %", default="sample"
    )
    max_body_mb: float | None = key("largest request body; default: the server's", default=None, min=0.001)
    max_concurrent: int = key("the most requests in progress; 0: no bound of its own", default=0, min=0)
    preprocess: str = key('"file.py:function" applied to the inputs first', default="")
    postprocess: str = key('"file.py:function" applied to the result last', default="")
    input: Mapping[str, Field] = key("the fields of a request", factory=dict)
    output: Mapping[str, Field] = key("the fields of an answer", factory=dict)

    @property
    def route(self) -> str:
        """The URL path."""
        return self.path or f"/{self.name}"


@attrs.frozen(kw_only=True)
class ExpectError:
    """The error a test expects."""

    status: int = key("the HTTP status", min=400, max=599)
    contains: str = key("text its message must contain", default="")


@attrs.frozen(kw_only=True)
class AppTest:
    """[[tests]]: an input and what must come out."""

    name: str = key("unique")
    endpoint: str = key("may be left out where the app has one", default="")
    input: Mapping[str, Any] = key("one request; a field of a media type is a path beside app.toml", factory=dict)
    cases: str = key("a .jsonl file of requests with expected values, scored by `metric`", default="")
    metric: str = key("how cases are scored", default="")
    metric_field: str = key("the output field that is scored", default="")
    metric_min: float | None = key("the least score that passes", default=None)
    metric_max: float | None = key("the largest score that passes", default=None)
    expect: Mapping[str, Any] = key("output fields and their values; fields not listed are free", factory=dict)
    expect_min: Mapping[str, float] = key("output fields and their least values", factory=dict)
    expect_max: Mapping[str, float] = key("output fields and their largest values", factory=dict)
    expect_contains: Mapping[str, Any] = key("output fields and what each must contain", factory=dict)
    expect_match: Mapping[str, str] = key("output fields and a regular expression each must match", factory=dict)
    expect_error: ExpectError | None = key("the error that must come", default=None)
    expect_file: str = key("a .json or .npz file with the expected output", default="")
    abs_tol: float = key("absolute tolerance of numbers", default=1e-6, min=0)
    rel_tol: float = key("relative tolerance of numbers", default=1e-4, min=0)
    probe: str = key("look at this step's result instead of the answer", default="")
    arm: str = key("answer with this arm of a split endpoint", default="")
    repeat: int = key("how often the request is sent", default=1, min=1)
    pass_min: int | None = key("how many repeats must pass; default: all", default=None, min=1)
    seed: int | None = key(
        "stands for chance: split arms, and models that draw; each repeat adds one; default: that of [app]",
        default=None,
        min=0,
    )
    tags: tuple[str, ...] = key("words to select tests by", default=())
    line: int = attrs.field(default=0, metadata={"from_position": True})
    """The line of its header in app.toml."""


@attrs.frozen(kw_only=True)
class Token:
    """[server.tokens.NAME]: what the holder of a bearer token of that name may do."""

    name: str = attrs.field(metadata={"from_header": True})
    endpoints: tuple[str, ...] | None = key("endpoints it may call; default: all", default=None)
    models: tuple[str, ...] | None = key(
        "models it may call past the endpoints; default: all, or none where `endpoints` is given",
        default=None,
    )
    rate_per_s: float = key("the most requests a second; 0: no bound", default=0, min=0)
    max_concurrent: int = key("the most requests in progress; 0: no bound", default=0, min=0)
    admin: bool = key("it may load and unload models", default=False)


@attrs.frozen(kw_only=True)
class Server:
    """[server]"""

    host: str = key("the address to listen on", default="127.0.0.1")
    port: int = key("the port; 0: any free one", default=8000, min=0, max=65535)
    max_body_mb: float = key("largest request body of any route", default=10, min=0.001)
    grpc_port: int = key("the port for gRPC; 0: none", default=0, min=0, max=65535)
    tokens_env: str = key("the environment variable that holds the accepted bearer tokens", default="")
    rate_per_s: float = key("the most requests a second; 0: no bound", default=0, min=0)
    max_concurrent: int = key("the most requests in progress; 0: no bound of its own", default=0, min=0)
    tokens: Mapping[str, Token] = key("what each named token may do", factory=dict)
    metrics_port: int = key(
        "a port of their own for the metrics; 0: /metrics of the server", default=0, min=0, max=65535
    )
    log_format: Literal["text", "json"] = key("how log lines are written", default="text")
    tls_cert: str = key("file with the certificate, PEM", default="")
    tls_key: str = key("file with its key, PEM", default="")
    drain_s: float = key("longest time requests in progress have when the server stops", default=35, min=0)

    @property
    def max_body_bytes(self) -> int:
        """`max_body_mb` in bytes."""
        return int(self.max_body_mb * BYTES_PER_MB)


@attrs.frozen(kw_only=True)
class App:
    """A whole app.toml, valid. `root` is the folder it lies in."""

    app: AppInfo
    models: Mapping[str, Model] = attrs.field(factory=dict)
    endpoints: Mapping[str, Endpoint] = attrs.field(factory=dict)
    tests: tuple[AppTest, ...] = ()
    server: Server = attrs.field(factory=Server)
    guarantees: Guarantees = attrs.field(factory=Guarantees)
    jobs: Mapping[str, Job] = attrs.field(factory=dict, metadata={"pending": True})
    deploy: Deploy = attrs.field(factory=Deploy, metadata={"pending": True})
    profiles: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    root: Path = attrs.field(default=Path(), metadata={"from_position": True})
    path: Path = attrs.field(default=Path("app.toml"), metadata={"from_position": True})

    @property
    def name(self) -> str:
        """[app] name."""
        return self.app.name

    def endpoint_of(self, test: AppTest) -> Endpoint:
        """The endpoint that a test calls: the one it names, else the only one."""
        return self.endpoints[test.endpoint] if test.endpoint else next(iter(self.endpoints.values()))
