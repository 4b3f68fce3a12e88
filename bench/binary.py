"""One megabyte of numbers as raw bytes and as JSON, to the same server and the same model.

    python bench/binary.py
    python bench/binary.py --rounds 5 --seconds 8 --connections 1 4 16

Each round loads both forms in turns with wrk. Medians over the rounds are printed as a table, with the least of the
ratios, and kept with the raw figures in bench/results/. The model is a mean over 262,144 numbers by ONNX Runtime, so
that what differs is how they get there. The JSON has the fewest digits that tell each float32 from its neighbours.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import attrs
import numpy as np

import machine
from load import Measured, need_wrk, wrk
from modelapp.testing import AppProject, RunningApp

RESULTS = Path(__file__).parent / "results"
NUMBERS = 262_144
HEADER = "Inference-Header-Content-Length"
PATH = "/v2/models/mean/infer"
APP = """
[app]
name = "megabyte"

[server]
max_body_mb = 32

[models.mean]
source = "mean.onnx"
runtime = "onnx"
max_batch_size = 16
threads = 1
"""


@attrs.frozen
class Form:
    """One way to send the tensor."""

    name: str
    body: bytes
    headers: Mapping[str, str]


def model() -> bytes:
    """y [batch] = the mean of x [batch, NUMBERS]."""
    from onnx import TensorProto, helper, numpy_helper

    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", NUMBERS])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    graph = helper.make_graph([node], "mean", [x], [y], [axes])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data: bytes = made.SerializeToString(deterministic=True)
    return data


def forms(array: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> tuple[Form, Form]:
    """The request for one row in JSON, and with the row as raw bytes."""
    tensor = {"name": "x", "shape": [1, NUMBERS], "datatype": "FP32"}
    numbers = ",".join(str(value) for value in array)
    plain = json.dumps({"inputs": [{**tensor, "data": []}]}).replace('"data": []', f'"data": [{numbers}]').encode()
    raw = array.tobytes()
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    return Form("JSON", plain, {}), Form("raw bytes", head + raw, {HEADER: str(len(head))})


def check(app: RunningApp, form: Form, wanted: float) -> None:
    """End unless the answer is right."""
    answer = app.ask("POST", PATH, form.body, form.headers)
    found = answer.json()["outputs"][0]["data"] if answer.status == 200 else answer.body[:200]
    if answer.status != 200 or abs(found[0] - wanted) > 1e-5:
        raise SystemExit(f"{form.name}: {answer.status} {found}, not {wanted}")


def main() -> None:
    """The command line."""
    arguments = _arguments()
    need_wrk()
    RESULTS.mkdir(exist_ok=True)
    before = machine.facts()
    print(machine.say(before), flush=True)
    array = np.random.default_rng(0).standard_normal(NUMBERS).astype(np.float32)
    both = forms(array)
    figures: dict[str, dict[int, list[Measured]]] = {
        form.name: {number: [] for number in arguments.connections} for form in both
    }
    with tempfile.TemporaryDirectory() as folder:
        project = AppProject(Path(folder)).write(APP, {"mean.onnx": model()})
        with project.serve() as app:
            for form in both:
                check(app, form, float(array.mean()))
            for turn in range(arguments.rounds):
                for connections in arguments.connections:
                    for form in both:
                        found = wrk(f"{app.url}{PATH}", form.body, connections, arguments.seconds, form.headers)
                        figures[form.name][connections].append(found)
                        print(_line(turn, form, found), flush=True)
    print(f"\n### {array.nbytes / 2**20:.0f} MB of FP32: {arguments.rounds} rounds of {arguments.seconds} s")
    print("\n".join(table(both, figures, arguments.connections)))
    _keep(arguments, before, both, figures)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="length of one load")
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 4, 16])
    return parser.parse_args()


def _line(turn: int, form: Form, found: Measured) -> str:
    note = f"  {found.failed} FAILED" if found.failed else ""
    what = f"round {turn + 1} {form.name} c={found.connections}"
    return f"  {what}: {found.per_s:.0f}/s p50 {found.p50_ms:.2f} ms p99 {found.p99_ms:.2f} ms{note}"


def ratios(figures: Mapping[str, Mapping[int, Sequence[Measured]]], connections: Sequence[int]) -> dict[int, float]:
    """Requests/s of raw bytes over those of JSON, by connections."""
    plain, raw = (
        {number: median(one.per_s for one in found[number]) for number in connections}
        for found in (figures["JSON"], figures["raw bytes"])
    )
    return {number: raw[number] / plain[number] for number in connections}


def table(
    both: Sequence[Form], figures: Mapping[str, Mapping[int, Sequence[Measured]]], connections: Sequence[int]
) -> list[str]:
    """A Markdown table of medians and their ratios."""
    head = "| form | body, MB |" + "".join(f" c={number}: requests/s | p50 ms | p99 ms |" for number in connections)
    lines = [f"{head} failed |", "|---|" + "---:|" * (2 + 3 * len(connections))]
    for form in both:
        found = figures[form.name]
        cells = [f"{len(form.body) / 1e6:.2f}"]
        for number in connections:
            cells.append(f"{median(one.per_s for one in found[number]):,.0f}")
            cells.append(f"{median(one.p50_ms for one in found[number]):.2f}")
            cells.append(f"{median(one.p99_ms for one in found[number]):.2f}")
        failed = sum(one.failed for number in connections for one in found[number])
        lines.append(f"| {form.name} | {' | '.join(cells)} | {failed} |")
    times = "".join(f" {ratio:.1f} x | | |" for ratio in ratios(figures, connections).values())
    return [*lines, f"| raw bytes over JSON | |{times} |"]


def _keep(
    arguments: argparse.Namespace,
    before: Mapping[str, object],
    both: Sequence[Form],
    figures: Mapping[str, Mapping[int, Sequence[Measured]]],
) -> None:
    result = {
        "machine": before,
        "load_average_after": machine.facts()["load_average"],
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "body_bytes": {form.name: len(form.body) for form in both},
        "ratios": {str(number): ratio for number, ratio in ratios(figures, arguments.connections).items()},
        "measured": {
            name: {str(number): [attrs.asdict(one) for one in found] for number, found in by_connections.items()}
            for name, by_connections in figures.items()
        },
    }
    target = RESULTS / time.strftime("binary-%Y%m%d-%H%M%S.json")
    target.write_text(json.dumps(result, indent=1))
    print(f"\nkept in {target}")


if __name__ == "__main__":
    main()
