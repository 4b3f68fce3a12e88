"""A real model behind the routes below /v1: tokens of a real tokenizer, a chat template of its own."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from modelapp.testing import AppProject, RunningApp

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[2] / "apps" / "dungeon" / "models" / "tiny_gpt2"
APP = """
[app]
name = "tiny"

[models.plain]
source = "plain"
runtime = "torch"
task = "text-generation"
threads = 1
max_batch_size = 4

[models.chatty]
source = "chatty"
runtime = "torch"
task = "text-generation"
threads = 1
max_batch_size = 4
"""
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
PROMPTS = ["You enter the cave", "There is a door", "The troll", "A lamp", "Open the", "North of the house"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """A client of an app with the tiny model, once without and once with a chat template."""
    folder = tmp_path_factory.mktemp("tiny")
    for name in ("plain", "chatty"):
        shutil.copytree(TINY, folder / name)
    (folder / "chatty" / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    with AppProject(folder).write(APP).serve(timeout_s=180) as app, _client(app) as made:
        yield made


def _client(app: RunningApp) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{app.url}/v1", api_key="none", timeout=120)


def test_chat_is_its_template_and_nothing_else(client: openai.OpenAI) -> None:
    """The same tokens go in as for the text that the template makes, so the same come out."""
    common: Any = {"max_tokens": 24, "temperature": 0}
    chat = client.chat.completions.create(
        model="chatty", messages=[{"role": "user", "content": "You enter the cave"}], **common
    )
    text = client.completions.create(model="plain", prompt="You enter the cave\n", **common)
    assert chat.choices[0].message.content == text.choices[0].text
    assert chat.usage == text.usage
    with pytest.raises(openai.BadRequestError, match="no chat template") as refused:
        client.chat.completions.create(model="plain", messages=[{"role": "user", "content": "hi"}])
    assert refused.value.param == "messages"


def test_streamed_and_in_company_it_says_the_same(client: openai.OpenAI) -> None:
    """Many prompts at once, all streams, drawn by seeds: each its own answer, as alone and whole."""
    common: Any = {"model": "plain", "max_tokens": 32, "temperature": 0.8, "top_p": 0.9}
    alone = [
        client.completions.create(prompt=prompt, seed=at, **common).choices[0].text for at, prompt in enumerate(PROMPTS)
    ]

    async def streamed(asking: openai.AsyncOpenAI, prompt: str, seed: int) -> str:
        stream = await asking.completions.create(prompt=prompt, seed=seed, stream=True, **common)
        return "".join([chunk.choices[0].text async for chunk in stream])

    async def everyone() -> list[str]:
        async with openai.AsyncOpenAI(base_url=client.base_url, api_key="none", timeout=120) as asking:
            return list(await asyncio.gather(*(streamed(asking, one, at) for at, one in enumerate(PROMPTS))))

    assert asyncio.run(everyone()) == alone
    assert len(set(alone)) == len(PROMPTS)


def test_log_probabilities_add_up_to_the_text(client: openai.OpenAI) -> None:
    """Tokens of several letters: their texts are the answer, each where its offset says."""
    choice = client.completions.create(
        model="plain", prompt=PROMPTS[0], max_tokens=16, temperature=0, logprobs=3
    ).choices[0]
    told = choice.logprobs
    assert told is not None
    for token, offset in zip(told.tokens or [], told.text_offset or [], strict=True):
        assert choice.text[offset : offset + len(token)] == token
    for top, logprob in zip(told.top_logprobs or [], told.token_logprobs or [], strict=True):
        assert max(top.values()) == logprob  # the likeliest was taken
