"""What a second replica of a PyTorch model costs: weights that are mapped are in memory once, others once a replica.

    python bench/sharing.py                     402 MB of weights, three ways to hold them: 2 minutes
    python bench/sharing.py --layers 6 --ways mapped

Each way starts the same app twice, asks each replica once, so that every weight was read, and looks at
/proc/PID/smaps_rollup: RSS counts shared pages in full, PSS shares them among the processes that map them, USS leaves
them out. The sum of PSS is what both take together; USS is what one replica more takes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

import machine
from modelapp.testing import AppProject, RunningApp

RESULTS = Path(__file__).parent / "results"
WIDTH = 2048
WAYS = {
    "mapped": ("net.safetensors", "float32"),
    "cast": ("net.safetensors", "bfloat16"),
    "old pickle": ("net.pth", "float32"),
}
"""Way -> its file of weights and the option `dtype`."""
APP = """
[app]
name = "sharing"
[models.net]
source = "handlers.py:Net"
files = {{ weights = "{file}" }}
runtime = "torch"
[models.net.torch]
arguments = {{ layers = {layers} }}
dtype = "{dtype}"
[endpoints.net]
model = "net"
output = {{ y = {{ type = "tensor", dtype = "float32", shape = [1] }} }}
[endpoints.net.input]
x = {{ type = "tensor", dtype = "float32", shape = [{width}] }}
"""
HANDLERS = f"""
from typing import Annotated
from torch import Tensor, nn

class Net(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear({WIDTH}, {WIDTH}) for _ in range(layers))

    def forward(self, x: Annotated[Tensor, "float32[batch, {WIDTH}]"]) -> dict[str, Tensor]:
        for layer in self.layers:
            x = layer(x)
        return {{"y": x.float().sum(1, keepdim=True)}}
"""
_WRITE = """
import sys, safetensors.torch, torch
sys.path.insert(0, sys.argv[1])
from handlers import Net
state = Net(int(sys.argv[2])).state_dict()
safetensors.torch.save_file(state, sys.argv[1] + "/net.safetensors")
torch.save(state, sys.argv[1] + "/net.pth", _use_new_zipfile_serialization=False)
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=24, help=f"each {WIDTH} x {WIDTH} numbers, 16.8 MB")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    arguments = parser.parse_args()
    before = machine.facts()
    print(machine.say(before), flush=True)
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        size_mb = _write(Path(folder), arguments.layers)
        print(f"weights: {size_mb:.0f} MB\n")
        print("| weights | replica | RSS MB | PSS MB | USS MB |\n|---|---|---:|---:|---:|")
        for way in arguments.ways:
            found[way] = list(_two(Path(folder), way, arguments.layers))
            print("\n".join(_lines(way, found[way])), flush=True)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / time.strftime("sharing-%Y%m%d-%H%M%S.json")
    target.write_text(json.dumps({"machine": before, "weights_mb": size_mb, "measured": found}, indent=1))
    print(f"\nkept in {target}")


def _write(folder: Path, layers: int) -> float:
    """The weights, by a process of its own; how large they are."""
    (folder / "handlers.py").write_text(HANDLERS)
    subprocess.run([sys.executable, "-c", _WRITE, str(folder), str(layers)], check=True)
    return (folder / "net.safetensors").stat().st_size / 1e6


def _two(folder: Path, way: str, layers: int) -> Iterator[dict[str, float]]:
    """The memory of two replicas, both at work, in MB."""
    file, dtype = WAYS[way]
    project = AppProject(folder).write(
        APP.format(file=file, layers=layers, dtype=dtype, width=WIDTH), handlers=HANDLERS
    )
    with ExitStack() as stack:
        apps = [stack.enter_context(project.serve(timeout_s=120)) for _ in range(2)]
        for app in apps:
            answer = app.post("/net", {"x": [0.5] * WIDTH})
            if answer.status != 200:
                raise SystemExit(f"the app answered {answer.status}: {answer.body.decode()}\n{app.output}")
        for app in apps:
            yield _memory(app)


def _memory(app: RunningApp) -> dict[str, float]:
    (replica,) = psutil.Process(app.pid).children()
    pages: dict[str, float] = {}
    for line in Path(f"/proc/{replica.pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        pages[name] = int(rest.split()[0]) * 1024 / 1e6
    return {"rss": pages["Rss"], "pss": pages["Pss"], "uss": pages["Private_Clean"] + pages["Private_Dirty"]}


def _lines(way: str, replicas: Sequence[dict[str, float]]) -> Iterator[str]:
    for number, one in enumerate(replicas, 1):
        yield f"| {way} | {number} | {one['rss']:.0f} | {one['pss']:.0f} | {one['uss']:.0f} |"
    yield f"| {way} | together | | {sum(one['pss'] for one in replicas):.0f} | |"


if __name__ == "__main__":
    main()
