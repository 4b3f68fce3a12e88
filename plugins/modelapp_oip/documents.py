"""How the routes below /v2 describe themselves in /openapi.json.

The protocol's own OpenAPI file calls its path parameters `${NAME}`, which tools take for literals, leaves the version
out of every path and knows no failure but 400; this one is made of what the routes here really take and give.
"""

from collections.abc import Collection, Mapping
from typing import Any

from modelapp_oip.datatypes import BINARY_ONLY, DATATYPES, MOST_AXES, MOST_ON_AN_AXIS
from modelapp_oip.wire import BINARY, HEADER, VERSION

Json = dict[str, Any]

_JSON = "application/json"
ERRORS: Mapping[int, str] = {
    400: "The request cannot be read, or is not what the model takes",
    401: "No bearer token, or an unknown one",
    403: "The token may not do this",
    404: "No such model, version or route",
    408: "The body did not arrive in time",
    413: "The body is too large, as it is or inflated",
    415: "The content encoding is not read here",
    429: "Too many requests wait; Retry-After says when to come back",
    500: "The model failed, or answered what it did not declare",
    503: "Not ready, or stopping; Retry-After says when to come back",
    504: "No answer in the time allowed",
}
"""Status -> what it means below /v2."""
_RETRY = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_ABOUT = (401, 403, 404, 429, 503)
_WORK = tuple(ERRORS)


def _object(properties: Mapping[str, Any], *required: str) -> Json:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _or_null(schema: Json) -> Json:
    """Also null, which clients write that leave nothing out."""
    return (
        {"anyOf": [schema, {"type": "null"}]} if "type" not in schema else schema | {"type": [schema["type"], "null"]}
    )


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/Oip{name}"}


def _list(items: Mapping[str, Any]) -> Json:
    return {"type": "array", "items": dict(items)}


_ASKED: Json = {
    "priority": _COUNT | {"description": "1 is the most urgent, 0 the model's default"},
    "timeout": _COUNT | {"description": "microseconds; shortens the time allowed"},
}
_SHAPE: Json = {
    "type": "array",
    "maxItems": MOST_AXES,
    "items": {"type": "integer", "minimum": 0, "maximum": MOST_ON_AN_AXIS},
}
_DATA: Json = {"type": "array", "description": "the elements, row-major, flat or nested"}
_SCHEMAS: Json = {
    "Error": _object({"error": _TEXT}, "error"),
    "Parameters": _object(_ASKED | {"binary_data_output": _FLAG}),
    "Input": _object(
        {
            "name": _TEXT,
            "datatype": {"type": "string", "enum": [word for word in DATATYPES if word not in BINARY_ONLY]},
            "shape": _SHAPE,
            "parameters": _or_null({"type": "object"}),
            "data": _DATA,
        },
        "name", "datatype", "shape", "data",
    ),
    "RequestedOutput": _object(
        {"name": _TEXT, "parameters": _or_null(_object({"binary_data": _FLAG, "classification": _COUNT}))}, "name"
    ),
    "InferRequest": _object(
        {
            "id": _or_null(_TEXT),
            "parameters": _or_null(_ref("Parameters")),
            "inputs": _list(_ref("Input")),
            "outputs": _or_null(_list(_ref("RequestedOutput"))),
        },
        "inputs",
    ),
    "Output": _object(
        {
            "name": _TEXT,
            "datatype": {"type": "string", "enum": list(DATATYPES)},
            "shape": _SHAPE,
            "parameters": _object({"binary_data_size": _COUNT}),
            "data": _DATA,
        },
        "name", "datatype", "shape",
    ),
    "InferAnswer": _object(
        {"model_name": _TEXT, "model_version": _TEXT, "id": _TEXT, "outputs": _list(_ref("Output"))},
        "model_name", "outputs",
    ),
    "Tensor": _object(
        {"name": _TEXT, "datatype": _TEXT, "shape": _list({"type": "integer", "minimum": -1})},
        "name", "datatype", "shape",
    ),
    "Model": _object(
        {
            "name": _TEXT,
            "versions": _list(_TEXT),
            "platform": _TEXT,
            "inputs": _list(_ref("Tensor")),
            "outputs": _list(_ref("Tensor")),
        },
        "name", "platform",
    ),
    "Server": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}, "name", "version", "extensions"),
    "Live": _object({"live": _FLAG}, "live"),
    "Ready": _object({"ready": _FLAG, "error": _TEXT}, "ready"),
    "Config": _object({"name": _TEXT, "max_batch_size": _COUNT}, "name", "max_batch_size"),
    "Statistics": _object({"model_stats": _list(_object({"name": _TEXT}, "name"))}, "model_stats"),
    "Generate": _object({"id": _or_null(_TEXT), "parameters": _or_null(_object(_ASKED))})
    | {"description": "the inputs by name, a single value for a tensor of one element"},
    "Generated": _object({"model_name": _TEXT, "model_version": _TEXT, "id": _TEXT}, "model_name"),
    "IndexRequest": _object({"ready": _FLAG}),
    "Index": _list(
        _object(
            {
                "name": _TEXT,
                "version": _TEXT,
                "state": {"type": "string", "enum": ["READY", "UNAVAILABLE"]},
                "reason": _TEXT,
            },
            "name",
        )
    ),
    "Load": _object({"parameters": _or_null({"type": "object"})}),
    "Loaded": _object({"name": _TEXT, "state": _TEXT}, "name", "state"),
}  # fmt: skip


def components() -> Json:
    """What the operations refer to."""
    failures = {
        f"Oip{status}": {"description": text, "content": {_JSON: {"schema": _ref("Error")}}}
        | ({"headers": _RETRY} if status in (429, 503) else {})
        for status, text in ERRORS.items()
    }
    return {"schemas": {f"Oip{name}": schema for name, schema in _SCHEMAS.items()}, "responses": failures}


class Documents:
    """Makes the operations; `models` are the names a path may hold."""

    def __init__(self, models: Collection[str]) -> None:
        self._models = list(models)

    def get(self, path: str, name: str, summary: str, answer: str, *, not_ready: str = "") -> Json:
        """A route without a body. `not_ready`: the schema of its 503, where that is no plain error."""
        failures = () if "{model}" not in path and not_ready else _ABOUT
        operation = self._operation(path, name, summary, _answers(answer, failures))
        if not_ready:
            operation["responses"]["503"] = _answer("Not ready", not_ready)
        return operation

    def post(self, path: str, name: str, summary: str, asked: str, answer: str, *, empty: bool = False) -> Json:
        """A route that takes JSON; `empty`: also no body at all."""
        operation = self._operation(path, name, summary, _answers(answer, _WORK))
        return operation | {"requestBody": {"required": not empty, "content": {_JSON: {"schema": _ref(asked)}}}}

    def infer(self, path: str) -> Json:
        """The route of inference, whose bodies may be JSON with raw tensors behind it."""
        operation = self.post(path, "infer", "Answer one inference request", "InferRequest", "InferAnswer")
        raw = {"schema": {"type": "string", "format": "binary"}}
        operation["responses"]["200"]["content"][BINARY] = raw
        operation["requestBody"]["content"][BINARY] = raw
        # Not among the parameters: tools would send the header with bodies of any kind, which then mean something else.
        told = f"{HEADER}: how many bytes of the body are JSON, where raw tensors follow; 0: it is one raw tensor"
        operation["requestBody"]["description"] = f"JSON; or, with the header {told}"
        return operation

    def stream(self, path: str) -> Json:
        """The route that answers by server-sent events."""
        operation = self.post(path, "generate_stream", "Answer as server-sent events", "Generate", "Generated")
        operation["responses"]["200"]["content"] = {"text/event-stream": {}}
        return operation

    def _operation(self, path: str, name: str, summary: str, responses: Json) -> Json:
        parameters: list[Json] = []
        if "{model}" in path:
            parameters.append(_in_path("model", self._models))
        if "{version}" in path:
            parameters.append(_in_path("version", [VERSION]))
        suffix = "_version" if "{version}" in path else "_slash" if path.endswith("/") else ""
        return {
            "operationId": f"oip_{name}{suffix}",
            "summary": summary,
            "tags": ["Open Inference Protocol"],
            "parameters": parameters,
            "responses": responses,
        }


def _in_path(name: str, values: list[str]) -> Json:
    schema: Json = {"type": "string", "enum": values} if values else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _answer(text: str, schema: str) -> Json:
    return {"description": text, "content": {_JSON: {"schema": _ref(schema)}}}


def _answers(answer: str, failures: Collection[int]) -> Json:
    refs = {str(status): {"$ref": f"#/components/responses/Oip{status}"} for status in failures}
    return {"200": _answer("The answer", answer), **refs}
