"""Ways to answer the same sixteen prompts with one and the same model: transformers' own, and modelapp's engines."""

import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

VOCABULARY = 50257
PROMPT_TOKENS = (8, 96)
ANSWER_TOKENS = (8, 64)
STEP_TOKENS = 256
"""The most tokens of a step, the default of app.toml."""
SLOTS = 16


@attrs.frozen
class Job:
    """A prompt, and how many tokens are to come."""

    prompt: Sequence[int]
    tokens: int


Way = Callable[[Sequence[Job]], Sequence[Sequence[int]]]
"""Takes the jobs together and hands back the answers in their order, each of as many tokens as asked for."""


def jobs(number: int, seed: int = 0) -> list[Job]:
    """Mixed lengths, always the same."""
    dice = random.Random(seed)
    return [
        Job([dice.randrange(VOCABULARY) for _ in range(dice.randint(*PROMPT_TOKENS))], dice.randint(*ANSWER_TOKENS))
        for _ in range(number)
    ]


def write_model(folder: Path) -> None:
    """GPT-2 as large as the smallest one released, 124 million weights drawn at random, with a tokenizer of numbers."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(initializer_range=0.05)  # wider than for training, so that the likeliest token stands out
    GPT2LMHeadModel(config).save_pretrained(folder)
    words = {str(token): token for token in range(VOCABULARY)}
    Tokenizer(models.WordLevel(words, unk_token="0")).save(str(folder / "tokenizer.json"))


def plain_model(folder: Path) -> Any:
    """The model as transformers itself runs it."""
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def one_by_one(model: Any) -> Way:
    """`generate`, one prompt after the other."""
    import torch

    def run(todo: Sequence[Job]) -> list[list[int]]:
        found = []
        for job in todo:
            ids = torch.tensor([job.prompt])
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=job.tokens, do_sample=False)
            found.append(out[0, len(job.prompt) :].tolist())
        return found

    return run


def static(model: Any) -> Way:
    """`generate` over all prompts at once, padded on the left, until the longest answer is there."""
    import torch

    def run(todo: Sequence[Job]) -> list[list[int]]:
        longest = max(len(job.prompt) for job in todo)
        ids = torch.tensor([[0] * (longest - len(job.prompt)) + list(job.prompt) for job in todo])
        mask = torch.tensor([[0] * (longest - len(job.prompt)) + [1] * len(job.prompt) for job in todo])
        most = max(job.tokens for job in todo)
        out = model.generate(ids, attention_mask=mask, max_new_tokens=most, do_sample=False)
        return [out[at, longest : longest + job.tokens].tolist() for at, job in enumerate(todo)]

    return run


def continuous(model: Any) -> Way:
    """transformers' continuous batching, bounded: by itself it takes nine tenths of the memory."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    bounds = ContinuousBatchingConfig(page_size=32, num_blocks=128, max_batch_tokens=STEP_TOKENS)
    greedy = GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0)

    def run(todo: Sequence[Job]) -> list[list[int]]:
        found: dict[str, list[int]] = {}
        manager = model.init_continuous_batching(generation_config=greedy, continuous_batching_config=bounds)
        manager.start()
        try:
            names = [manager.add_request(list(job.prompt), max_new_tokens=job.tokens) for job in todo]
            while len(found) < len(todo):
                result = manager.get_result(timeout=60)
                if result is None:
                    raise SystemExit("transformers' continuous batching has stopped")
                if result.is_finished():
                    found[result.request_id] = list(result.generated_tokens)
        finally:
            manager.stop(block=True)
        return [found[name] for name in names]

    return run


def engine(model: Any) -> Way:
    """A `modelapp.generating.Generates`, driven by a loop that takes the likeliest token."""
    from modelapp.generating import Feed

    runs = model.engine

    def run(todo: Sequence[Job]) -> list[list[int]]:
        waiting = list(range(len(todo)))
        answers: list[list[int]] = [[] for _ in todo]
        slots: dict[int, int] = {}
        pending: dict[int, list[int]] = {}
        while waiting or slots:
            while waiting and runs.has_room(len(todo[waiting[0]].prompt) + todo[waiting[0]].tokens):
                at = waiting.pop(0)
                slot, feed = runs.admit(todo[at].prompt, len(todo[at].prompt) + todo[at].tokens)
                slots[at], pending[at] = slot, list(feed)
            feeds, room = [], STEP_TOKENS
            for at in sorted(slots, key=lambda at: len(pending[at])):
                share = pending[at][:room]
                if share:
                    feeds.append((at, Feed(slots[at], share, wanted=len(share) == len(pending[at]))))
                    room -= len(share)
            rows = iter(runs.step([feed for _, feed in feeds]))
            for at, feed in feeds:
                del pending[at][: len(feed.tokens)]
                if not feed.wanted:
                    continue
                token = int(next(rows).argmax())
                answers[at].append(token)
                pending[at].append(token)
                if len(answers[at]) == todo[at].tokens:
                    runs.release(slots.pop(at))
        return answers

    return run


def torch_model(folder: Path, threads: int, *, slots: int = SLOTS, **options: str) -> Any:
    """The torch runtime's model."""
    from modelapp_torch import Options
    from modelapp_torch.generation import load_generating

    return load_generating(_artefact(folder), Options(**options), _placement(threads, slots))


def onnx_model(folder: Path, threads: int, *, slots: int = SLOTS) -> Any:
    """The onnx runtime's model; `folder` holds what `modelapp export` wrote."""
    from modelapp_onnx import Options
    from modelapp_onnx.runtime import OnnxRuntime

    return OnnxRuntime().load(_artefact(folder), Options(), _placement(threads, slots))


def export(folder: Path, target: Path, small: Path) -> None:
    """Write the model for the onnx runtime: in float32, and with 8 bit weights."""
    from modelapp_onnx.runtime import OnnxRuntime
    from modelapp_torch import Options
    from modelapp_torch.runtime import TorchRuntime

    target.mkdir()
    small.mkdir()
    TorchRuntime().export(_artefact(folder), Options(), _placement(2, SLOTS), target, "onnx")
    OnnxRuntime().quantize(target, small, "int8")


def _artefact(folder: Path) -> Any:
    from modelapp.runtime import Artefact

    return Artefact("gpt2", folder, task="text-generation")


def _placement(threads: int, slots: int) -> Any:
    from modelapp.runtime import Placement

    return Placement(threads=threads, slots=slots, reuse_prefixes=False)


def environment(threads: int) -> Mapping[str, str]:
    """Of a process that measures: threads that do not spin, as modelapp sets it."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }


def from_json(text: str) -> Any:
    """The last line of what a child printed."""
    return json.loads(text.strip().splitlines()[-1])
