"""`modelapp export`: a model written for another runtime, and held against the original before it is kept."""

import argparse
import contextlib
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelapp.cli.console import Console
from modelapp.cli.opening import Opened, open_app, tell_warnings
from modelapp.cli.variants import Losses, compare_tests
from modelapp.errors import UsageError
from modelapp.problems import shown

if TYPE_CHECKING:
    from modelapp.drift import Drift
    from modelapp.exporting import Exporting, Parity


def run(options: argparse.Namespace, console: Console) -> int:
    """Export one model; 0 where it was written and does the same."""
    from modelapp.exporting import Exporting, check_target, put, workshop

    opened = open_app(options, console)
    tell_warnings(opened.reading, console)
    app = opened.app
    target = _target(options, opened)
    with _interruptible():
        job = Exporting(app, opened.plugins, options.model, options.to, console.note)
        check_target(target, app, force=options.force)
        _check(job, options, opened, target)
        document: dict[str, Any] = {"app": app.name, "model": job.model.name, "format": options.to}
        with workshop(target) as folder:
            made = folder / "model"
            parity, losses, drift = _make(job, made, options, console), None, None
            if (parity is None or parity.ok) and options.precision:
                made, losses, drift = _less_precise(job, made, folder, opened, options, console)
            kept = parity.ok if parity is not None else True
            kept = kept and (losses is None or not losses.lost or options.force)
            if kept:
                put(made, target)
        source = _source(job, target, opened)
    failed = not kept or bool(losses and losses.lost)
    document |= {
        "precision": options.precision or None,
        "parity": None if parity is None else _parity(parity),
        "drift": None if drift is None else drift.document(),
        "tests": None if losses is None else losses.document(),
        "verdict": "fail" if failed else "pass",
        "written": str(target) if kept else None,
        "app_toml": job.use(source) if kept else None,
    }
    if console.json:
        console.document(document)
    _conclude(job, parity, losses, target, source, console, kept=kept)
    return 1 if failed else 0


def _target(options: argparse.Namespace, opened: Opened) -> Path:
    """The folder to write, absolute."""
    suffix = f"-{options.precision}" if options.precision else ""
    default = opened.app.root / "models" / f"{options.model}-{options.to}{suffix}"
    return Path(options.out or default).absolute()


def _check(job: "Exporting", options: argparse.Namespace, opened: Opened, target: Path) -> None:
    if job.is_there and not options.precision:
        raise UsageError(
            f'model "{job.model.name}" is served by the {options.to} runtime already',
            help=f"modelapp export {job.model.name} --precision int8 makes a smaller one",
        )
    if not job.is_there:
        job.check()
    if options.precision:
        job.judged_by_tests()
        if not target.resolve().is_relative_to(opened.app.root.resolve()):
            raise UsageError(
                f"{target} is outside of the app's folder, where its tests cannot reach the {options.precision} model",
                help="name a folder below that of app.toml with --out",
            )


def _make(job: "Exporting", folder: Path, options: argparse.Namespace, console: Console) -> "Parity | None":
    """Export and compare; None for what is in the format already."""
    if job.is_there:
        return None
    folder.mkdir()
    console.note(f'exporting model "{job.model.name}" from {job.model.runtime} to {options.to}')
    if console.verbosity >= 2:
        logging.getLogger("modelapp").setLevel(logging.DEBUG)  # a runtime lets its library speak then
    with _aside(job):
        job.export(folder)
        parity = job.compare(folder)
    for line in _table(parity):
        console.result(line)
    return parity


@contextlib.contextmanager
def _aside(job: "Exporting") -> Iterator[None]:
    """What the app's own code prints is no result, and it finds itself where it would be served."""
    with contextlib.redirect_stdout(sys.stderr), contextlib.chdir(job.root):
        yield


def _less_precise(
    job: "Exporting", exported: Path, folder: Path, opened: Opened, options: argparse.Namespace, console: Console
) -> tuple[Path, Losses, "Drift | None"]:
    """The folder with the model of that precision, what its tests lose by it, and how far its steps are off."""
    source = job.artefact.source if job.is_there else job.written(exported)
    made = folder / options.precision
    made.mkdir()
    with _aside(job):
        job.quantize(source, made, options.precision)
        drift = job.drift(source, made, options.precision)
    if drift is not None:
        console.result(drift.told())
    below = job.written(made).resolve().relative_to(opened.app.root.resolve()).as_posix()
    return made, compare_tests(opened, job.model.name, below, options.to, options.precision, console), drift


def _source(job: "Exporting", target: Path, opened: Opened) -> str:
    """What `source` of the model would be, as far as the target is one that an app can name."""
    found = job.written(target)
    with contextlib.suppress(ValueError):
        return found.resolve().relative_to(opened.app.root.resolve()).as_posix()
    return str(found)


def _table(parity: "Parity") -> Iterator[str]:
    head = ("input", "output", "shape", "max difference", "of the largest", "verdict")
    rows: list[tuple[str, ...]] = [head]
    for one in parity.comparisons:
        given = one.given + (f" ({one.runs} runs)" if one.runs > 1 else "")
        numbers = ("-", "-") if one.fault else (f"{one.max_abs:.2e}", f"{one.max_rel:.2e}")
        rows.append((given, one.output, str(list(one.shape)), *numbers, "same" if one.ok else "DIFFERS"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _parity(parity: "Parity") -> dict[str, Any]:
    return {
        "tolerance": parity.tolerance,
        "ok": parity.ok,
        "comparisons": [
            attrs.asdict(one) | {"max_rel": one.max_rel if one.largest else None, "ok": one.ok}
            for one in parity.comparisons
        ],
    }


def _conclude(
    job: "Exporting",
    parity: "Parity | None",
    losses: Losses | None,
    target: Path,
    source: str,
    console: Console,
    *,
    kept: bool,
) -> None:
    if parity is not None and parity.worst is not None and not parity.ok:
        console.error(f"the exported model is not the same, and nothing was written: {parity.worst.told()}")
    elif parity is not None and not parity.ok:
        console.error("nothing could be compared, and nothing was written: a test with an input makes it certain")
    elif losses is not None and losses.lost:
        what = f"{shown(target)} was written all the same" if kept else "nothing was written; --force writes it"
        console.error(f"{', '.join(losses.lost)} passed and fails now: {what}")
    if parity is not None and parity.ok and parity.worst is not None:
        number = len(parity.comparisons)
        console.result(
            f"{number} comparison{'s' * (number != 1)}: the largest difference is {parity.worst.max_rel:.2g} of the"
            f" largest value, {parity.worst.tolerance:g} is allowed"
        )
    if kept:
        outside = "move it below the folder of app.toml, and there" if Path(source).is_absolute() else "in app.toml"
        console.result(f"written: {shown(target)}\n\nto serve it, {outside}:\n{job.use(source)}")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the work as Ctrl-C does, so that nothing half done is left behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
