"""Sixteen answers of mixed lengths by GPT-2 of 124 million weights: modelapp's engines against transformers' own ways.

    python bench/generation.py                              one and two threads, five rounds each: half an hour
    python bench/generation.py --threads 1 --rounds 2 --onnx EXPORTED --onnx-int8 QUANTIZED

Each round visits every way in turn, in one process; a ratio is the median over rounds of one way's tokens a second
over those of `generate`, one prompt after the other, in the same round. On a machine that others use too, look at the
ratio of the processor's seconds, which counts what the ways themselves took. Also: whether the likeliest tokens are the
same alone and in company, how long others wait for a token while a long prompt is read, and how much of the memory's
bandwidth a step of one sequence uses, whose every weight must be read.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import generators
import machine

RESULTS = Path(__file__).parent / "results"
NAIVE, STATIC, CONTINUOUS = "generate, one by one", "generate, padded batch", "transformers' continuous batching"
LONG_TOKENS = 960
BESIDE = 8
"""Sequences that are being written while the long prompt is read."""


def main() -> None:
    """The command line."""
    arguments = _arguments()
    if arguments.child:
        print(json.dumps(_measure(arguments)))
        return
    before = machine.facts()
    print(machine.say(before), flush=True)
    RESULTS.mkdir(exist_ok=True)
    kept = {}
    with tempfile.TemporaryDirectory(prefix="modelapp-bench-") as name:
        folder = Path(name) / "gpt2"
        generators.write_model(folder)
        if arguments.export:
            arguments.onnx, arguments.onnx_int8 = Path(name) / "onnx", Path(name) / "int8"
            generators.export(folder, arguments.onnx, arguments.onnx_int8)
        for threads in arguments.threads:
            kept[threads] = found = _child(folder, threads, arguments)
            print("\n".join(_report(threads, found)), flush=True)
    target = RESULTS / time.strftime("generation-%Y%m%d-%H%M%S.json")
    after = machine.facts()["load_average"]
    target.write_text(json.dumps({"machine": before, "load_average_after": after, "measured": kept}, indent=1))
    print(f"\nkept in {target}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=generators.SLOTS)
    parser.add_argument("--export", action="store_true", help="export the model, and measure the onnx runtime too")
    parser.add_argument("--onnx", type=Path, help="the model as `modelapp export` wrote it")
    parser.add_argument("--onnx-int8", type=Path, help="the same, quantized")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _child(folder: Path, threads: int, arguments: argparse.Namespace) -> Any:
    words = [sys.executable, __file__, "--child", str(folder), "--threads", str(threads)]
    words += ["--rounds", str(arguments.rounds), "--requests", str(arguments.requests)]
    for option, path in (("--onnx", arguments.onnx), ("--onnx-int8", arguments.onnx_int8)):
        words += [option, str(path)] if path else []
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=generators.environment(threads))
    return generators.from_json(done.stdout)


def _measure(arguments: argparse.Namespace) -> Any:
    """In the child: every figure of one number of threads."""
    import torch

    threads, folder = arguments.threads[0], arguments.child
    torch.set_num_threads(threads)
    plain = generators.plain_model(folder)
    exact = {"torch": generators.torch_model(folder, threads)}
    if arguments.onnx:
        exact["onnx"] = generators.onnx_model(arguments.onnx, threads)
    rough = {
        "torch, bfloat16": generators.torch_model(folder, threads, dtype="bfloat16"),
        "torch, int8": generators.torch_model(folder, threads, quantize="int8"),
    }
    if arguments.onnx_int8:
        rough["onnx, int8"] = generators.onnx_model(arguments.onnx_int8, threads)
    ways = {
        NAIVE: generators.one_by_one(plain),
        STATIC: generators.static(plain),
        CONTINUOUS: generators.continuous(plain.__class__.from_pretrained(folder).eval()),
    } | {name: generators.engine(model) for name, model in (exact | rough).items()}
    todo = generators.jobs(arguments.requests)
    rates, costs, answers = _rounds(ways, todo, arguments.rounds)
    alone = {name: [ways[name]([job])[0] for job in todo] for name in exact}
    single = generators.torch_model(folder, threads, slots=1)
    return {
        "rates": rates,
        "processor_s_a_token": costs,
        "as_generate": {name: _equal(answers[name], answers[NAIVE]) for name in ways},
        "as_alone": {name: _equal(answers[name], alone[name]) for name in alone},
        "beside_a_long_prompt": {name: asyncio.run(_beside(model)) for name, model in exact.items()},
        "bandwidth": _bandwidth(single, folder),
    }


def _rounds(
    ways: Mapping[str, generators.Way], todo: Sequence[generators.Job], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, Any]]:
    """Of each way: tokens a second and processor seconds a token, by rounds; and what it answered last."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    costs: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, Any] = {}
    tokens = sum(job.tokens for job in todo)
    for way in ways.values():
        way(todo[:2])  # memory is fetched, threads are started
    for turn in range(rounds):
        for name, way in ways.items():
            started, busy = time.perf_counter(), time.process_time()
            answers[name] = way(todo)
            rates[name].append(tokens / (time.perf_counter() - started))
            costs[name].append((time.process_time() - busy) / tokens)
            shown = f"{rates[name][-1]:.1f} tokens/s, {costs[name][-1] * 1e3:.1f} ms of the processor a token"
            print(f"  round {turn + 1}: {name}: {shown}", file=sys.stderr, flush=True)
    return rates, costs, answers


def _equal(first: Sequence[Any], second: Sequence[Any]) -> str:
    return f"{sum(list(one) == list(other) for one, other in zip(first, second, strict=True))} of {len(first)}"


class _Marks:
    """Stands for a tokenizer: each token is a letter, so that each is told as it comes."""

    def stream(self) -> "_Marks":
        return self

    def push(self, _token: int) -> str:
        return "x"

    def flush(self) -> str:
        return ""


async def _beside(model: Any) -> dict[str, float]:
    """Eight sequences are written; then a long prompt and a short one come. Times between tokens, in ms."""
    from modelapp.batching import Limits
    from modelapp.call import Call
    from modelapp.generator import Generator
    from modelapp.prompts import GenerationRequest

    slots = model.engine.capacity.slots
    told = SimpleNamespace(engine=model.engine, text=_Marks(), device=model.device)
    generator = Generator("bench", told, Limits(max_queue_rows=64), slots=slots, step_tokens=generators.STEP_TOKENS)
    dice = generators.jobs(BESIDE + 2, seed=1)
    times: list[list[float]] = [[] for _ in dice]

    async def follow(at: int, prompt: Sequence[int], tokens: int) -> None:
        request = GenerationRequest(prompt=tuple(prompt), max_tokens=tokens, ignore_end=True)
        async for _ in generator.pieces(request, Call(time.monotonic())):
            times[at].append(time.perf_counter())

    written = [asyncio.create_task(follow(at, dice[at].prompt[:8], 120)) for at in range(BESIDE)]
    while min(len(one) for one in times[:BESIDE]) < 40 and not written[0].done():  # noqa: ASYNC110 (a bench may look every millisecond)
        await asyncio.sleep(0.001)
    began = time.perf_counter()
    long_prompt = (list(dice[BESIDE].prompt) * 100)[:LONG_TOKENS]
    joined = [
        asyncio.create_task(follow(BESIDE, long_prompt, 8)),
        asyncio.create_task(follow(BESIDE + 1, dice[-1].prompt[:8], 8)),
    ]
    await asyncio.gather(*written, *joined)
    await generator.close()
    gaps = [pair for one in times[:BESIDE] for pair in itertools.pairwise(one[5:])]
    quiet = [after - before for before, after in gaps if after < began]
    busy = sorted(after - before for before, after in gaps if after > began)
    late = busy[int(len(busy) * 0.99)]
    step = median(quiet)
    return {
        "step_ms": step * 1e3,
        "p99_ms": late * 1e3,
        "p99_over_step": late / step,
        "short_prompt_steps": sum(began < at <= times[BESIDE + 1][0] for at in times[0]),
    }


def _bandwidth(model: Any, folder: Path) -> dict[str, float]:
    """Bytes a second of weights that steps of one sequence read, and that a plain sum over as much memory reads."""
    import torch

    from modelapp.generating import Feed

    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    heap = torch.ones(size // 4)
    slot, feed = model.engine.admit([1, 2, 3], 64)
    model.engine.step([Feed(slot, feed)])
    read, stepped = [], []
    for _ in range(30):
        started = time.perf_counter()
        heap.sum()
        read.append(size / (time.perf_counter() - started) / 1e9)
        started = time.perf_counter()
        model.engine.step([Feed(slot, [5])])
        stepped.append(size / (time.perf_counter() - started) / 1e9)
    return {"memory_gb_s": median(read), "step_gb_s": median(stepped)}


def _report(threads: int, found: Any) -> list[str]:
    naive, costs = found["rates"][NAIVE], found["processor_s_a_token"]
    lines = [f"\n### {threads} thread{'s' * (threads > 1)}"]
    lines += ["| way | tokens/s | over one by one | in processor seconds | as `generate` | alone = in company |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    for name, rates in found["rates"].items():
        ratio = median(rate / base for rate, base in zip(rates, naive, strict=True))
        spared = median(base / cost for cost, base in zip(costs[name], costs[NAIVE], strict=True))
        equal = f"{found['as_generate'][name]} | {found['as_alone'].get(name, '')}"
        lines.append(f"| {name} | {median(rates):.1f} | {ratio:.2f} | {spared:.2f} | {equal} |")
    for name, beside in found["beside_a_long_prompt"].items():
        lines.append(
            f"\n{name}, {BESIDE} sequences while a prompt of {LONG_TOKENS} tokens is read: step"
            f" {beside['step_ms']:.1f} ms, p99 between tokens {beside['p99_ms']:.1f} ms"
            f" ({beside['p99_over_step']:.2f} x); the first token of a short prompt that came with it after"
            f" {beside['short_prompt_steps']:.0f} steps"
        )
    speed = found["bandwidth"]
    share = speed["step_gb_s"] / speed["memory_gb_s"]
    lines.append(
        f"\ntorch, one sequence: {speed['step_gb_s']:.1f} GB/s of weights of the {speed['memory_gb_s']:.1f} GB/s that"
        f" the memory gives ({share:.0%})"
    )
    return lines


if __name__ == "__main__":
    main()
