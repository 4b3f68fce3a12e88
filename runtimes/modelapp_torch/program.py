"""A model over tensors, opened in whatever form it came: what it takes, where it runs, and how it is called."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs
import torch

from modelapp.errors import LoadError
from modelapp.runtime import Artefact
from modelapp.signature import TensorSpec, read_tensor
from modelapp_torch import Options

Tensors: TypeAlias = Mapping[str, torch.Tensor]


@attrs.frozen(kw_only=True)
class Program:
    """`target` is what runs: a network, or what a file was opened to."""

    where: str
    """The class or file, for messages."""
    target: Callable[..., Any]
    device: torch.device
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...] = ()
    """As declared; empty where a trial run must tell."""
    positional: tuple[str, ...] = ()
    """The inputs that `target` takes by their places; it takes the others by name."""
    floats: torch.dtype | None = None
    """Floating inputs are cast to it; None: they go in as they come."""
    notes: tuple[str, ...] = ()
    own_code: bool = False
    """Whether a class of the app or a package runs, whose exceptions are told with their place."""

    def run(self, tensors: Tensors) -> Any:
        """Call `target` with every input."""
        first = self.positional
        if not first:
            return self.target(**tensors)
        rest = {name: tensor for name, tensor in tensors.items() if name not in first}
        return self.target(*[tensors[name] for name in first], **rest)


def declared(texts: Mapping[str, str], artefact: Artefact, key: str) -> tuple[TensorSpec, ...]:
    """The tensors of the option `key`, "inputs" or "outputs". Raises LoadError."""
    try:
        specs = tuple(read_tensor(name, text) for name, text in texts.items())
    except LoadError as error:
        place = f"models.{artefact.name}.torch.{key}"
        raise LoadError(f"{place}: {error.message}", model=artefact.name, help=error.help) from None
    for spec in specs:
        if spec.dtype in ("string", "bytes"):
            raise LoadError(
                f'models.{artefact.name}.torch.{key}: torch has no tensors of "{spec.dtype}"', model=artefact.name
            )
    return specs


def undeclared(artefact: Artefact, where: str, names: tuple[str, ...]) -> LoadError:
    """The error for a model that says of its inputs no more than their names, if that."""
    said = ", ".join(f'{name} = "float32[batch, ...]"' for name in names or ("x",))
    return LoadError(
        f"{where} does not say what it takes",
        model=artefact.name,
        help=f"declare dtype and sizes in [models.{artefact.name}.torch]: inputs = {{ {said} }}",
    )


def refuse(options: Options, artefact: Artefact, form: str, *keys: str) -> None:
    """Raise LoadError where one of the options `keys` is set, which a model in this `form` cannot follow."""
    for key in keys:
        if getattr(options, key) != getattr(Options(), key):
            raise LoadError(
                f"models.{artefact.name}.torch.{key} has no effect on {form}",
                model=artefact.name,
                help=f"leave {key} out of [models.{artefact.name}.torch]",
            )
