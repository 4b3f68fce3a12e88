"""A session of ONNX Runtime, set up so that threads, provider and noise are the product's to decide."""

import difflib
from pathlib import Path
from typing import Any

import attrs
import onnxruntime  # type: ignore[import-untyped]  # the library ships no types

from modelapp.errors import LoadError
from modelapp.runtime import Artefact, Placement
from modelapp_onnx import Options
from modelapp_onnx.failures import check_file, load_failure
from modelapp_onnx.graphcache import GraphCache

CPU = "CPUExecutionProvider"
_OF_DEVICE = {"cpu": CPU, "cuda": "CUDAExecutionProvider"}
_NEEDS_CUDA = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"})
_LEVELS = {
    "off": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_FATAL = 4
_ERROR = 3


@attrs.frozen
class Opened:
    """A session, the providers asked for, its device, and notes for whoever starts the app."""

    session: Any
    providers: tuple[str, ...]
    device: str
    notes: tuple[str, ...] = ()

    @property
    def on_cpu(self) -> bool:
        """Whether all of the model runs on the CPU's own provider."""
        return self.providers == (CPU,)


def open_session(artefact: Artefact, options: Options, placement: Placement) -> Opened:
    """Open the file. Raises LoadError: clashing options, a bad file, a provider other than the one asked for."""
    onnxruntime.set_default_logger_severity(_ERROR)
    check_file(artefact)
    placement = attrs.evolve(placement, device=_device(placement.device, options))
    threads = _threads(artefact, options, placement)
    providers = _providers(artefact, options, placement)
    cache = _cache(artefact, options, placement, providers)
    plan = _Plan(artefact, options, placement, threads, providers)
    session, notes = plan.fresh() if cache is None else plan.cached(cache)
    if options.cache_optimized and cache is None:
        notes = ("cache_optimized has no effect: this replica has no cache folder.",)
    _compare(session, providers, artefact)
    return Opened(session, providers, placement.device, notes)


@attrs.frozen
class _Plan:
    """All that decides how the session is made."""

    artefact: Artefact
    options: Options
    placement: Placement
    threads: int
    providers: tuple[str, ...]

    def fresh(self, keep: Path | None = None) -> tuple[Any, tuple[str, ...]]:
        """A session from the file itself; its optimised graph goes to `keep`. Raises LoadError."""
        settings = _settings(self.options.graph_optimization, self.threads, self.providers)
        if keep is not None:
            settings.optimized_model_filepath = str(keep)
        try:
            return _create(str(self.artefact.source), settings, self.providers, self.placement), ()
        except Exception as error:
            raise load_failure(error, self.artefact) from None

    def cached(self, cache: GraphCache) -> tuple[Any, tuple[str, ...]]:
        """A session from the cache, filled first where it holds nothing usable."""
        settings = _settings("off", self.threads, self.providers)
        session = cache.load(lambda path: _create(str(path), settings, self.providers, self.placement))
        if session is not None:
            return session, ()
        try:
            with cache.writing() as target:
                return self.fresh(target)
        except (LoadError, OSError) as error:
            session, _ = self.fresh()  # raises again where the model itself is at fault
            return session, (f"The optimised graph could not be kept in {cache.folder}: {error}",)


def _create(path: str, settings: Any, providers: tuple[str, ...], placement: Placement) -> Any:
    index = placement.device.partition(":")[2]
    chosen = [(name, {"device_id": index} if index and name in _NEEDS_CUDA else {}) for name in providers]
    # Without enable_fallback=0 the library prints a banner and goes on with another provider when one fails.
    return onnxruntime.InferenceSession(path, settings, providers=chosen, enable_fallback=0)


def _settings(level: str, threads: int, providers: tuple[str, ...]) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = _LEVELS[level]
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL  # whatever goes wrong is raised too; said twice it is noise
    # Spinning workers burn the time slices of every other process on the machine.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if CPU not in providers:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return settings


def _device(asked: str, options: Options) -> str:
    """`asked`, with "auto" settled: by the providers that are named, or else by those that are installed."""
    if asked != "auto":
        return asked
    providers = options.providers or onnxruntime.get_available_providers()
    return "cuda" if _NEEDS_CUDA.intersection(providers) else "cpu"


def _threads(artefact: Artefact, options: Options, placement: Placement) -> int:
    if options.threads > placement.threads:
        raise LoadError(
            f"models.{artefact.name}.onnx.threads is {options.threads}, over the model's budget of {placement.threads}",
            model=artefact.name,
            help=f"set threads = {options.threads} in [models.{artefact.name}], or leave the key out here",
        )
    return options.threads or placement.threads


def _providers(artefact: Artefact, options: Options, placement: Placement) -> tuple[str, ...]:
    """The providers asked for, each installed, none listed twice, and fitting `device`."""
    key = f"models.{artefact.name}.onnx.providers"
    kind = placement.device.partition(":")[0]
    if not options.providers and kind not in _OF_DEVICE:
        raise LoadError(
            f'models.{artefact.name}.device is "{placement.device}", for which no provider is known',
            model=artefact.name,
            help=f'name it in [models.{artefact.name}.onnx] providers, or set device = "cpu" or "cuda"',
        )
    providers = options.providers or (_OF_DEVICE[kind],)
    installed = onnxruntime.get_available_providers()
    for name in providers:
        if name not in installed:
            near = difflib.get_close_matches(name, installed, n=1, cutoff=0.7)
            raise LoadError(
                f'{key}: the installed onnxruntime has no "{name}"',
                model=artefact.name,
                help=f'did you mean "{near[0]}"?' if near else f"it has {', '.join(installed)}",
            )
    if len(set(providers)) < len(providers):
        raise LoadError(f"{key} names a provider twice", model=artefact.name, help="list each once, the best first")
    wants = "cuda" if providers[0] in _NEEDS_CUDA else "cpu" if providers[0] == CPU else kind
    if wants != kind:
        raise LoadError(
            f'{key} asks for {providers[0]}, which runs on "{wants}", but device is "{placement.device}"',
            model=artefact.name,
            help=f'set device = "{wants}" in [models.{artefact.name}]',
        )
    return providers


def _cache(artefact: Artefact, options: Options, placement: Placement, providers: tuple[str, ...]) -> GraphCache | None:
    if not options.cache_optimized:
        return None
    table = f"models.{artefact.name}.onnx"
    if options.graph_optimization == "off":
        raise LoadError(
            f'{table}: cache_optimized keeps an optimised graph, and graph_optimization is "off"',
            model=artefact.name,
            help='graph_optimization = "all", or cache_optimized = false',
        )
    if providers != (CPU,):
        raise LoadError(
            f"{table}: cache_optimized works for {CPU} alone, not for {', '.join(providers)}",
            model=artefact.name,
            help="cache_optimized = false",
        )
    if placement.cache_dir is None:
        return None
    facts = (onnxruntime.__version__, options.graph_optimization)
    return GraphCache.of(artefact.source, placement.cache_dir / "onnx", facts)


def _compare(session: Any, providers: tuple[str, ...], artefact: Artefact) -> None:
    """Refuse a session that quietly runs elsewhere than the app asked."""
    used = session.get_providers()
    if used[0] != providers[0]:
        raise LoadError(
            f"{artefact.source}: asked for {providers[0]}, but ONNX Runtime uses {used[0]}",
            model=artefact.name,
            help="install what that provider needs on this machine, or ask for the one in use",
        )
