"""A model of the app written in a format that another runtime opens, and kept only where it answers the same."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import attrs

from modelapp.app import App, Model
from modelapp.drift import Drift
from modelapp.errors import InconclusiveError, LoadError, SurroundingsError, UsageError
from modelapp.generating import TextModel
from modelapp.launch import thread_budget, thread_environment
from modelapp.loading import open_runtime, placement_of
from modelapp.parity import Comparison, Ledger, Twins, compare_drawn, tolerance_of
from modelapp.plugins import Plugins
from modelapp.rehearsal import rehearse, tests_of
from modelapp.runtime import Artefact, Exports, LoadedModel, Quantizes, Runtime
from modelapp.sources import artefact as artefact_of
from modelapp.suggestions import did_you_mean
from modelapp.textparity import Sameness, TwinText, compare_tokenizers, drive

MAIN_FILE = "model.onnx"
Tell = Callable[[str], None]


@attrs.frozen
class Parity:
    """What comparing came to. `worst` is None where nothing could be compared."""

    comparisons: Sequence[Comparison]
    worst: Comparison | None
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether something was compared, and all of it is the same."""
        return self.worst is not None and all(one.ok for one in self.comparisons)


class Exporting:
    """One model of an app on its way to `format`, which names the runtime that opens it. `tell` gets notes.

    Raises UsageError where there is no such model, LoadError where its files are not there.
    """

    def __init__(self, app: App, plugins: Plugins, name: str, format: str, tell: Tell) -> None:
        self.root = app.root.resolve()
        self._app = attrs.evolve(app, root=self.root)
        self._plugins = plugins
        self._format = format
        self._tell = tell
        self.model = _model(app, name)
        spec = plugins.runtime(self.model.runtime)
        os.environ.update(thread_environment(app, [spec, plugins.runtime(format)], thread_budget()))
        self.artefact: Artefact = artefact_of(app.root, self.model)
        self._spec = spec

    @cached_property
    def _runtime(self) -> Runtime:
        """Opened where it is needed: its library takes seconds."""
        return open_runtime(self._spec)

    @property
    def is_there(self) -> bool:
        """Whether the model is in the format already."""
        return self.model.runtime == self._format

    def check(self) -> None:
        """Raise UsageError where its runtime cannot write it in the format."""
        if isinstance(self._runtime, Exports) and self._format in self._runtime.formats:
            return
        raise UsageError(
            f'the {self.model.runtime} runtime cannot export model "{self.model.name}" to {self._format}',
            help="of the runtimes that come with modelapp, torch can",
        )

    def export(self, folder: Path) -> None:
        """Write it into an empty folder. Raises LoadError."""
        if not isinstance(self._runtime, Exports):
            raise UsageError(f"the {self.model.runtime} runtime exports nothing")
        placement = placement_of(self.model, thread_budget())
        for note in self._runtime.export(self.artefact, self.model.options, placement, folder, self._format):
            self._tell(f"note: {note}")

    def quantize(self, source: Path, folder: Path, precision: str) -> None:
        """Write what is in the format already anew into an empty folder, less precise. Raises LoadError, UsageError."""
        runtime = open_runtime(self._plugins.runtime(self._format))
        if self.model.task and source.is_file():
            source = source.parent  # what lies beside it belongs to it: its tokenizer
        if not isinstance(runtime, Quantizes) or precision not in runtime.precisions:
            raise UsageError(f"the {self._format} runtime makes no {precision} models")
        for note in runtime.quantize(source, folder, precision):
            self._tell(f"note: {note}")

    def written(self, folder: Path) -> Path:
        """What the model's `source` is to name of a folder: of one that generates all of it."""
        main = folder / MAIN_FILE
        if self.model.task or not main.is_file():
            return folder
        return main

    def compare(self, folder: Path) -> Parity:
        """Load it as it was and as it is in the folder, and run both over drawn inputs and those of the tests.

        Raises LoadError where one does not load.
        """
        spec = self._plugins.runtime(self._format)
        placement = attrs.evolve(placement_of(self.model, thread_budget()), reuse_prefixes=False)
        other = attrs.evolve(self.artefact, source=self.written(folder), symbol="", files={})
        ledger = Ledger(tolerance_of(self.model))
        original = self._runtime.load(self.artefact, self.model.options, placement)
        try:
            try:
                exported = open_runtime(spec).load(other, spec.options(), placement)
            except LoadError as error:
                raise LoadError(
                    f"what was exported does not load: {error.message}", model=self.model.name, help=error.help
                ) from error
            try:
                self._compare(original, exported, ledger)
            finally:
                exported.close()
        finally:
            original.close()
        return Parity(ledger.comparisons, ledger.worst, ledger.tolerance)

    def _compare(self, original: LoadedModel | TextModel, exported: LoadedModel | TextModel, ledger: Ledger) -> None:
        stand_in: LoadedModel | TextModel
        if isinstance(original, TextModel) and isinstance(exported, TextModel):
            texts = ["Once upon a time, there was a dragon.", "Grüße, 世界! 🐉\n\n  x = 1"]
            compare_tokenizers(original.text, exported.text, texts, ledger)
            judge = Sameness(ledger)
            stand_in = TwinText(original, exported, judge)
            drive(stand_in.engine, judge)
        elif isinstance(original, TextModel) or isinstance(exported, TextModel):
            raise LoadError("only one of the original and the export answers token by token", model=self.model.name)
        elif original.signature.kind == "records" or exported.signature.kind == "records":
            raise LoadError(
                f'model "{self.model.name}" takes records, and only tensors can be compared', model=self.model.name
            )
        else:
            for note in exported.signature.notes:
                self._tell(f"note: the exported model: {note}")
            stand_in = Twins(original, exported, self.model, ledger)
            for note in compare_drawn(stand_in, ledger, most_rows=self.model.max_batch_size):
                self._tell(f"note: {note}")
        for note in asyncio.run(rehearse(self._app, self._plugins, self.model.name, stand_in, ledger.begin)):
            self._tell(f"note: {note}")

    def drift(self, source: Path, folder: Path, precision: str) -> Drift | None:
        """How far the less precise model in the folder is from that at `source`, over drawn prompts and those of tests.

        None where it does not generate. Raises LoadError where one does not load.
        """
        if not self.model.task:
            return None
        spec = self._plugins.runtime(self._format)
        runtime = open_runtime(spec)
        placement = attrs.evolve(placement_of(self.model, thread_budget()), reuse_prefixes=False)
        options = self.model.options if self.is_there else spec.options()
        found = Drift(precision)
        with contextlib.ExitStack() as opened:
            both = []
            for path in (source, self.written(folder)):
                made = attrs.evolve(self.artefact, source=path, symbol="", files={})
                both.append(opened.enter_context(contextlib.closing(runtime.load(made, options, placement))))
            precise, small = both
            if not isinstance(precise, TextModel) or not isinstance(small, TextModel):
                return None
            twin = TwinText(precise, small, found)
            drive(twin.engine, found)
            asyncio.run(rehearse(self._app, self._plugins, self.model.name, twin, found.begin))
        return found

    def use(self, source: str) -> str:
        """The lines of app.toml that serve what is written at `source`."""
        lines = [f"[models.{self.model.name}]", f'source = "{source}"', f'runtime = "{self._format}"']
        return "\n".join(lines)

    def judged_by_tests(self) -> None:
        """Raise InconclusiveError where no test reaches the model."""
        if not tests_of(self._app, self.model.name):
            raise InconclusiveError(
                f'no test reaches model "{self.model.name}", so nothing tells what precision costs',
                help="add a test of an endpoint that uses it",
            )


def _model(app: App, name: str) -> Model:
    if name not in app.models:
        known = ", ".join(app.models) or "none"
        raise UsageError(
            f'there is no model "{name}"', help=did_you_mean(name, app.models, otherwise=f"models: {known}")
        )
    return app.models[name]


@contextlib.contextmanager
def workshop(target: Path) -> Iterator[Path]:
    """A folder beside `target` to build in, which is gone afterwards, as are folders that were made for it.

    Raises SurroundingsError where nothing can be written there.
    """
    made = _missing_parents(target)
    folder = target.parent / f".{target.name}.{os.getpid()}"
    try:
        try:
            folder.mkdir(parents=True)
            yield folder
        except OSError as error:
            raise SurroundingsError(
                f"{target} cannot be written: {error.strerror or error}", help="choose another folder with --out"
            ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):  # it holds what was written, or was never made
                parent.rmdir()


def _missing_parents(target: Path) -> list[Path]:
    """The folders above it that are not there, the innermost first."""
    return [parent for parent in target.parents if not parent.exists()]


def check_target(target: Path, app: App, *, force: bool) -> None:
    """Raise UsageError where something is there that must not be replaced."""
    if not target.exists() and not target.is_symlink():
        return
    if target.is_dir() and not any(target.iterdir()):
        return
    if not target.is_dir() or target in (app.root.resolve(), *app.root.resolve().parents):
        raise UsageError(f"{target} is no folder of an exported model", help="choose another folder with --out")
    if not (target / MAIN_FILE).is_file():
        raise UsageError(f"{target} holds something other than an exported model", help="choose another with --out")
    if not force:
        raise UsageError(f"{target} is there already", help="--force replaces it, --out names another folder")


def put(folder: Path, target: Path) -> None:
    """Let the finished folder take the place of `target`, and of what is there."""
    old = folder.parent / "replaced"
    if target.exists():
        target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
