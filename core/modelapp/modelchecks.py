"""Models as they ran here before, against what app.toml says of them: rows of a run, and the fields they are given."""

from collections.abc import Mapping

from modelapp.app import Endpoint, Field, Model
from modelapp.buckets import Buckets
from modelapp.errors import LoadError
from modelapp.examination import Examination
from modelapp.signature import Signature, TensorSpec
from modelapp.signaturecache import Measured
from modelapp.spans import KeyPath
from modelapp.suggestions import toml


def check(exam: Examination, known: Mapping[str, Measured]) -> None:
    """Every model that ran here, and the endpoints that name one of them directly."""
    for model in exam.app.models.values():
        if model.name in known:
            _batch(exam, model, known[model.name].signature)
            _padding(exam, model, known[model.name].signature)
    for endpoint in exam.app.endpoints.values():
        _fields(exam, endpoint, known)


def _batch(exam: Examination, model: Model, signature: Signature) -> None:
    """`max_batch_size` against the model's own batch axis."""
    place = ("models", model.name, "max_batch_size")
    sizes = [spec.shape[0] for spec in signature.inputs if spec.shape and isinstance(spec.shape[0], int)]
    most = min(sizes, default=None) if signature.batched else 1
    if most is not None and model.max_batch_size > most and exam.sources.holds(place):
        label = f"its batch axis is fixed to {most}" if signature.batched or sizes else "it runs one request at a time"
        message = f'model "{model.name}" cannot run {model.max_batch_size} rows at once'
        exam.replace("MA049", message, place, label, most, severity="warning")


def _padding(exam: Examination, model: Model, signature: Signature) -> None:
    """`pad` and `buckets` against the model's inputs."""
    path = ("models", model.name)
    inputs = [spec.name for spec in signature.inputs]
    strangers = [name for name in model.pad if name not in inputs]
    for name in strangers:
        message, notes = f'model "{model.name}" has no input "{name}"', (f"its inputs: {', '.join(inputs) or 'none'}",)
        exam.unknown("MA049", message, (*path, "pad", name), "not an input of it", name, inputs, at="key", notes=notes)
    if strangers or not exam.is_sound((*path, "buckets")):
        return
    try:
        Buckets(signature, model)
    except LoadError as error:
        message, label = error.message.partition(": ")[2], "not shapes that it can take"
        exam.add("MA049", message, (*path, "buckets"), label, error.help)


def _fields(exam: Examination, endpoint: Endpoint, known: Mapping[str, Measured]) -> None:
    """The declared fields of an endpoint that hands them to a model as they are."""
    model = exam.app.models.get(endpoint.model)
    if model is None or model.name not in known or endpoint.preprocess or model.preprocess or not endpoint.input:
        return
    signature, path = known[model.name].signature, ("endpoints", endpoint.name, "input")
    plain = all(not field.type.item and field.type.word == "tensor" for field in endpoint.input.values())
    if signature.kind != "tensors" or not plain or not exam.is_sound(path):
        return
    inputs = {spec.name: spec for spec in signature.inputs}
    if len(inputs) == 1 and len(endpoint.input) == 1:  # the only one need not bear its name
        pairs = [(next(iter(endpoint.input.values())), next(iter(inputs.values())))]
    else:
        pairs = [(field, inputs[name]) for name, field in endpoint.input.items() if name in inputs]
        _names(exam, model, endpoint, inputs, path)
    for field, spec in pairs:
        _field(exam, model, field, spec, (*path, field.name))


def _names(
    exam: Examination, model: Model, endpoint: Endpoint, inputs: Mapping[str, TensorSpec], path: KeyPath
) -> None:
    notes = (f"its inputs: {', '.join(inputs) or 'none'}",)
    strangers = [name for name in endpoint.input if name not in inputs]
    free = [name for name in inputs if name not in endpoint.input]
    for name in strangers:
        message = f'model "{model.name}" has no input "{name}"'
        exam.unknown("MA049", message, (*path, name), "not an input of it", name, free, at="key", notes=notes)
    for name in free:
        if not strangers and not inputs[name].optional:
            line = f'{name} = {{ type = "tensor", dtype = {toml(_field_dtype(inputs[name]))} }}'
            message, edit = f'model "{model.name}" needs "{name}"', exam.sources.insert(path, line)
            exam.add("MA049", message, path, f"{name} is missing", f"add {line}", at="header", notes=notes, edit=edit)


def _field(exam: Examination, model: Model, field: Field, spec: TensorSpec, path: KeyPath) -> None:
    wanted_dtype = _field_dtype(spec)
    if field.dtype != wanted_dtype:
        message = f'"{field.name}" is {field.dtype}, and model "{model.name}" takes {spec.dtype}'
        place = (*path, "dtype") if exam.sources.holds((*path, "dtype")) else path
        edit = (
            exam.sources.replace(place, toml(wanted_dtype))
            if place != path
            else exam.sources.insert(path, f"dtype = {toml(wanted_dtype)}")
        )
        advice = f"write dtype = {toml(wanted_dtype)}"
        exam.add("MA049", message, place, f'its input is "{spec.name}"', advice, edit=edit)
    if field.shape and not _meets(field.shape, spec):
        wanted = [size if isinstance(size, int) else -1 for size in spec.shape]
        message = f'"{field.name}" has another shape than model "{model.name}" takes'
        exam.replace("MA049", message, (*path, "shape"), f"it takes {toml(wanted)}, or one row of it", wanted)


def _field_dtype(spec: TensorSpec) -> str:
    """The dtype of a field that feeds that input; no field is bfloat16."""
    return "float32" if spec.dtype == "bfloat16" else spec.dtype


def _meets(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    """Whether a tensor of that shape can be the input, with its row axis or without."""
    whole = list(spec.shape)
    return any(
        len(shape) == len(axes)
        and all(size == -1 or not isinstance(axis, int) or size == axis for size, axis in zip(shape, axes, strict=True))
        for axes in (whole, whole[1:])
    )
