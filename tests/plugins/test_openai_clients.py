"""The routes below /v1 as OpenAI's own Python client speaks to them, unmodified."""

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile

from modelapp.nulltext import expected
from modelapp.testing import RunningApp

HELLO: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
SAID = "system: Be brief.\nuser: hello\nassistant: "


class Counted(httpx.HTTPTransport):
    """A transport that keeps what it was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[httpx.Response] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send and keep."""
        self.answers.append(super().handle_request(request))
        return self.answers[-1]

    @property
    def statuses(self) -> list[int]:
        """The status of each answer."""
        return [answer.status_code for answer in self.answers]


@pytest.fixture
def wire() -> Counted:
    """The client's transport."""
    return Counted()


@pytest.fixture
def client(talking: RunningApp, boss: str, wire: Counted) -> Iterator[openai.OpenAI]:
    """A client as anyone makes one."""
    with openai.OpenAI(base_url=f"{talking.url}/v1", api_key=boss, http_client=httpx.Client(transport=wire)) as made:
        yield made


def test_completions_whole_and_streamed_are_the_models_own_answer(client: openai.OpenAI) -> None:
    """The likeliest tokens, their number, the id of the request, and the same text piece by piece."""
    done = client.completions.create(model="story", prompt="Once", max_tokens=30, temperature=0)
    assert done.choices[0].text == expected("Once", 30)
    assert done.usage is not None
    assert (done.object, done.usage.prompt_tokens, done.usage.total_tokens) == (
        "text_completion", 4, 4 + done.usage.completion_tokens,
    )  # fmt: skip
    assert done.id.startswith("cmpl-")
    chunks = list(client.completions.create(model="story", prompt="Once", max_tokens=30, temperature=0, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == expected("Once", 30)
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices[0].finish_reason == done.choices[0].finish_reason
    assert {chunk.usage for chunk in chunks} == {None}


def test_several_prompts_have_their_choices_in_order(client: openai.OpenAI) -> None:
    """Texts or token ids, n of each; streamed ones come with the same indexes."""
    prompts = ["One", "Two", "Three"]
    wanted = [expected(prompt, 12) for prompt in prompts for _ in range(2)]
    common: Any = {"model": "story", "max_tokens": 12, "temperature": 0, "n": 2}
    done = client.completions.create(prompt=prompts, **common)
    assert [(choice.index, choice.text) for choice in done.choices] == list(enumerate(wanted))
    ids = [list(prompt.encode()) for prompt in prompts]
    assert [choice.text for choice in client.completions.create(prompt=ids, **common).choices] == wanted
    alone = client.completions.create(prompt=ids[1], **common)
    assert [choice.text for choice in alone.choices] == wanted[2:4]
    texts = [""] * 6
    ended: list[int] = []
    for chunk in client.completions.create(prompt=prompts, stream=True, **common):
        (choice,) = chunk.choices
        texts[choice.index] += choice.text
        ended += [choice.index] if choice.finish_reason else []
    assert texts == wanted
    assert sorted(ended) == list(range(6))


def test_chat_whole_and_streamed(client: openai.OpenAI) -> None:
    """The first chunk says who speaks, the last one why it ended, and what it used up comes when asked for."""
    common: Any = {"model": "story", "messages": HELLO, "max_tokens": 20, "temperature": 0}
    done = client.chat.completions.create(**common)
    (choice,) = done.choices
    assert (choice.message.role, choice.message.content) == ("assistant", expected(SAID, 20))
    assert done.usage is not None
    assert done.usage.prompt_tokens == len(SAID)
    assert done.id.startswith("chatcmpl-")
    chunks = list(client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **common))
    first, *middle, last, usage = chunks
    assert (first.choices[0].delta.role, first.choices[0].finish_reason) == ("assistant", None)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in [first, *middle]) == expected(SAID, 20)
    assert {chunk.choices[0].finish_reason for chunk in middle} == {None}
    assert (last.choices[0].finish_reason, last.choices[0].delta.content) == (choice.finish_reason, None)
    assert (usage.choices, usage.usage) == ([], done.usage)
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_same_seed_draws_the_same(client: openai.OpenAI) -> None:
    """Also a negative one; and choices of one request are drawn apart."""
    common: Any = {
        "model": "story",
        "prompt": "x",
        "max_tokens": 24,
        "temperature": 2,
        "logit_bias": {"97": 10, "98": 10},
    }
    one, other = (client.completions.create(seed=-5, **common).choices[0].text for _ in range(2))
    assert one == other
    several = client.completions.create(seed=5, n=3, **common)
    assert len({choice.text for choice in several.choices}) > 1


def test_stop_texts_end_an_answer_before_them(client: openai.OpenAI) -> None:
    """The text up to the stop, with the reason "stop"."""
    text = expected("Stop", 40)
    stop = text[5:7]
    done = client.completions.create(model="story", prompt="Stop", max_tokens=40, temperature=0, stop=stop)
    assert (done.choices[0].text, done.choices[0].finish_reason) == (text[: text.index(stop)], "stop")
    limited = client.completions.create(model="story", prompt="Stop", max_tokens=3, temperature=0, stop=["~", "^"])
    assert (limited.choices[0].text, limited.choices[0].finish_reason) == (text[:3], "length")


def test_log_probabilities_in_both_shapes(client: openai.OpenAI) -> None:
    """Of each token, and of the likeliest ones; streamed they are the same."""
    common: Any = {"model": "story", "max_tokens": 5, "temperature": 0}
    old = client.completions.create(prompt="Log", logprobs=2, **common).choices[0]
    assert old.logprobs is not None
    assert "".join(old.logprobs.tokens or []) == old.text
    assert old.logprobs.text_offset == [0, 1, 2, 3, 4]
    assert all(logprob < 0 for logprob in old.logprobs.token_logprobs or [])
    assert all(token in top and len(top) == 2 for token, top in zip(
        old.logprobs.tokens or [], old.logprobs.top_logprobs or [], strict=True))  # fmt: skip
    streamed = [
        chunk.choices[0].logprobs
        for chunk in client.completions.create(prompt="Log", logprobs=2, stream=True, **common)
    ]
    assert [offset for one in streamed if one for offset in one.text_offset or []] == old.logprobs.text_offset
    chat = client.chat.completions.create(messages=HELLO, logprobs=True, top_logprobs=3, **common).choices[0]
    assert chat.logprobs is not None
    assert chat.logprobs.content is not None
    assert "".join(one.token for one in chat.logprobs.content) == chat.message.content
    assert [bytes(one.bytes or []).decode() for one in chat.logprobs.content] == [
        one.token for one in chat.logprobs.content
    ]
    assert {len(one.top_logprobs) for one in chat.logprobs.content} == {3}


def test_what_vllms_callers_send_is_understood(client: openai.OpenAI) -> None:
    """An answer goes on past the model's own end, for as long as a load generator wants; usage is told at the end."""
    extra = {"ignore_eos": True, "min_tokens": 300, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    stream = client.completions.create(
        model="story", prompt="Long", max_tokens=300, temperature=0, stream=True, extra_body=extra,
        stream_options={"include_usage": True, "continuous_usage_stats": True},  # type: ignore[typeddict-unknown-key]
    )  # fmt: skip
    assert stream.response.headers["x-modelapp-ignored"] == "stream_options.continuous_usage_stats"
    *_, last = stream
    assert last.usage is not None
    assert (last.usage.completion_tokens, last.choices) == (300, [])


def test_a_model_that_answers_once_is_streamed_too(client: openai.OpenAI) -> None:
    """A class of the app's own that knows no pieces: all of it in one; what a request says reaches it."""
    chunks = list(client.chat.completions.create(model="once", messages=HELLO, stream=True, seed=3))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == repr(sorted({"messages": HELLO, "seed": 3, "temperature": 1.0}.items()))
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, "stop"]


def test_a_class_of_the_apps_own_that_streams(client: openai.OpenAI) -> None:
    """Its pieces are chunks as they are; the end is told though no piece tells it, and so is a failure."""
    chunks = list(client.completions.create(model="words", prompt="one two three", stream=True))
    assert [chunk.choices[0].text for chunk in chunks] == ["one ", "two ", "three ", ""]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert client.completions.create(model="words", prompt="one two").choices[0].text == "one two "
    stream = client.completions.create(model="words", prompt="one fall", stream=True)
    assert next(iter(stream)).choices[0].text == "one "
    with pytest.raises(openai.APIError, match="words"):
        next(iter(stream))


def test_what_a_request_leaves_open_is_the_protocols_or_the_models(client: openai.OpenAI) -> None:
    """Completions have 16 tokens; the temperature is 1 unless the model's table has one, as max_tokens of chats is."""
    assert "('max_tokens', 16)" in client.completions.create(model="once", prompt="x").choices[0].text
    done = client.chat.completions.create(model="calm", messages=HELLO)
    assert done.choices[0].message.content == expected(SAID, 7)


def test_embeddings_as_the_client_asks_for_them_by_default(client: openai.OpenAI, wire: Counted) -> None:
    """In base64, which it unpacks; as numbers the same; a text, several, token ids, several of them."""
    done = client.embeddings.create(model="vectors", input=["aab", "ccc"])
    assert isinstance(wire.answers[-1].json()["data"][0]["embedding"], str)
    assert [one.embedding for one in done.data] == [[0.25, 0.125, 0.0], [0.0, 0.0, 0.375]]
    assert [one.index for one in done.data] == [0, 1]
    assert (done.usage.prompt_tokens, done.usage.total_tokens) == (6, 6)
    plain = client.embeddings.create(model="vectors", input="aab", encoding_format="float")
    assert plain.data[0].embedding == done.data[0].embedding
    ids = client.embeddings.create(model="vectors", input=[[8, 16, 24], [1, 1, 1]])
    assert ids.data[0].embedding == [1.0, 2.0, 3.0]
    assert client.embeddings.create(model="vectors", input=[8, 16, 24]).data[0].embedding == [1.0, 2.0, 3.0]
    assert client.embeddings.create(model="vectors", input="abc", dimensions=3).data[0].embedding == [0.125] * 3
    with pytest.raises(openai.BadRequestError, match="the model's vectors have 3"):
        client.embeddings.create(model="vectors", input="abc", dimensions=2)


@pytest.mark.parametrize("form", ["mp3", "opus", "flac", "wav"])
def test_speech_in_every_format(client: openai.OpenAI, form: Any) -> None:
    """What comes is sound of the right length; faster speech is shorter."""
    spoken = client.audio.speech.create(model="voice", input="0123456789", voice="any", response_format=form, speed=2)
    samples, rate = soundfile.read(io.BytesIO(spoken.content))
    assert len(samples) / rate == pytest.approx(0.5, abs=0.1)
    assert spoken.response.headers["content-type"].startswith("audio/")


def test_speech_without_a_format_and_raw(client: openai.OpenAI) -> None:
    """MP3 unless the request names another; pcm is 16 bits at the rate that the content type tells."""
    spoken = client.audio.speech.create(model="voice", input="0123456789", voice="any")
    assert soundfile.info(io.BytesIO(spoken.content)).format == "MP3"
    with client.audio.speech.with_streaming_response.create(
        model="voice", input="0123456789", voice="any", response_format="pcm"
    ) as raw:
        samples = np.frombuffer(raw.read(), "<i2")
        assert raw.headers["content-type"] == "audio/pcm;rate=16000;channels=1;bits=16"
    assert (len(samples), int(abs(samples).max())) == (16000, 32767)


def test_what_was_spoken_is_written_down(client: openai.OpenAI) -> None:
    """The form of an upload, as the client makes it; JSON or bare text."""
    spoken = client.audio.speech.create(model="voice", input="01234567890123456789", voice="any", response_format="wav")
    upload = ("speech.wav", spoken.content)
    done = client.audio.transcriptions.create(model="ear", file=upload, language="en")
    assert done.text == "2.00 s en"
    text = client.audio.transcriptions.create(model="ear", file=upload, response_format="text")
    assert text == "2.00 s"


def test_models_are_listed_by_what_the_token_may_call(talking: RunningApp, client: openai.OpenAI, clerk: str) -> None:
    """Those with a task that is served here; to a token for some models, those."""
    names = [model.id for model in client.models.list()]
    assert names == [
        "story", "rewrite", "calm", "slow", "narrow", "brittle", "late", "vectors", "voice", "ear", "once", "words",
    ]  # fmt: skip
    assert client.models.retrieve("story").owned_by == "talk"
    limited = client.with_options(api_key=clerk)
    assert [model.id for model in limited.models.list()] == ["story", "vectors"]
    assert limited.embeddings.create(model="vectors", input="a").data
    for call in (
        lambda: limited.models.retrieve("calm"),
        lambda: limited.completions.create(model="calm", prompt="x"),
        lambda: limited.chat.completions.create(model="calm", messages=HELLO, stream=True),
        lambda: limited.audio.speech.create(model="voice", input="x", voice="y"),
        lambda: limited.audio.transcriptions.create(model="ear", file=("a.wav", b"x")),
        lambda: limited.completions.create(model="no-such-model", prompt="x"),
    ):
        with pytest.raises(openai.PermissionDeniedError, match='the token "clerk" may not call this model'):
            call()


@pytest.mark.parametrize(
    ("kind", "param", "code", "call"),
    [
        (openai.BadRequestError, "temperature", "invalid_input", {"temperature": 3}),
        (openai.BadRequestError, "max_tokens", "invalid_input", {"max_tokens": 10**6}),
        (openai.BadRequestError, "tools", "invalid_input", {"tools": [{"type": "function"}]}),
        (openai.BadRequestError, "response_format", "invalid_input", {"response_format": {"type": "json_object"}}),
        (openai.BadRequestError, "model", "invalid_input", {"model": "rewrite"}),
        (openai.BadRequestError, "model", "invalid_input", {"model": "shown"}),
        (openai.BadRequestError, "messages", "invalid_input", {"messages": []}),
        (openai.NotFoundError, "model", "model_not_found", {"model": "gpt-4o"}),
        (openai.AuthenticationError, None, "invalid_api_key", {"extra_headers": {"authorization": "Bearer nobody"}}),
    ],
)  # fmt: skip
def test_each_mistake_is_the_clients_own_exception(
    client: openai.OpenAI, wire: Counted, kind: Any, param: str | None, code: str, call: dict[str, Any]
) -> None:
    """With the field at fault; it is told once, since the same again would fare no better. Streaming or not."""
    for stream in (False, True):
        with pytest.raises(kind) as caught:
            client.chat.completions.create(**{"model": "story", "messages": HELLO, "stream": stream, **call})
        assert (caught.value.param, caught.value.code, caught.value.type) == (param, code, "invalid_request_error")
    assert len(wire.answers) == 2


def test_a_model_that_fails_is_not_tried_again(client: openai.OpenAI, wire: Counted) -> None:
    """It would only fail again: 500 with x-should-retry: false."""
    with pytest.raises(openai.InternalServerError) as caught:
        client.completions.create(model="brittle", prompt="qqq", temperature=0)
    assert (caught.value.code, wire.statuses) == ("model_failed", [500])
    assert wire.answers[0].headers["x-should-retry"] == "false"


def test_a_model_that_is_not_there_yet_is_tried_again(
    client: openai.OpenAI, wire: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with the time to wait, in seconds and in milliseconds; the client waits so long, and comes twice more."""
    waits_s: list[float] = []
    monkeypatch.setattr(time, "sleep", waits_s.append)
    with pytest.raises(openai.InternalServerError, match="late"):
        client.completions.create(model="late", prompt="x")
    assert wire.statuses == [503, 503, 503]
    told_ms = [int(answer.headers["retry-after-ms"]) for answer in wire.answers]
    assert waits_s == [ms / 1000 for ms in told_ms[:2]]
    assert int(wire.answers[0].headers["retry-after"]) * 1000 >= told_ms[0]


def test_a_failure_in_mid_stream_is_raised_where_it_comes(client: openai.OpenAI) -> None:
    """What came before it stays; then the client raises."""
    prompt = next(f"p{number}" for number in range(100) if "q" in expected(f"p{number}", 40)[5:])
    stream = client.completions.create(model="brittle", prompt=prompt, temperature=0, max_tokens=60, stream=True)
    texts: list[str] = []
    with pytest.raises(openai.APIError, match="brittle"):
        texts.extend(chunk.choices[0].text for chunk in stream)
    assert "".join(texts) == expected(prompt, 60).partition("q")[0] + "q"


def begin(client: openai.OpenAI, model: str, n: int = 1) -> Callable[[], None]:
    """Begin a stream of 80 seconds; what comes back ends it."""
    stream = client.completions.create(
        model=model, prompt="s", max_tokens=4000, n=n, temperature=0, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    return stream.close


def test_a_request_that_is_shed_comes_again_and_is_answered(client: openai.OpenAI, wire: Counted) -> None:
    """429 with the time to wait: the client waits so long and tries again, until the queue has room."""
    close = begin(client, "narrow", n=3)  # one is answered, two wait, and the queue holds three
    short: Any = {"model": "narrow", "prompt": "x", "max_tokens": 1, "temperature": 0, "n": 2}
    with pytest.raises(openai.RateLimitError) as shed:
        client.with_options(max_retries=0).completions.create(**short)
    assert (shed.value.type, shed.value.code) == ("rate_limit_error", "queue_full")
    assert int(shed.value.response.headers["retry-after-ms"]) <= 1000 * int(shed.value.response.headers["retry-after"])
    threading.Timer(0.2, close).start()
    done = client.completions.create(**short)
    assert [choice.text for choice in done.choices] == [expected("x", 1)] * 2
    assert wire.statuses[:3] == [200, 429, 429]
    assert wire.statuses[-1] == 200


def test_a_stream_that_is_closed_frees_its_place(client: openai.OpenAI) -> None:
    """The model has one slot and a queue of one: what follows is answered long before the stream would have ended."""
    for _ in range(3):
        begin(client, "slow")()
        done = client.with_options(timeout=20).completions.create(model="slow", prompt="x", max_tokens=1, temperature=0)
        assert done.choices[0].text == expected("x", 1)


def test_the_asynchronous_client(talking: RunningApp, boss: str) -> None:
    """Many at once, streaming and not, each with the answer to its own prompt; embeddings beside them."""

    async def whole(client: openai.AsyncOpenAI, prompt: str) -> str:
        done = await client.completions.create(model="story", prompt=prompt, max_tokens=25, temperature=0)
        return done.choices[0].text

    async def streamed(client: openai.AsyncOpenAI, prompt: str) -> str:
        text = ""
        async for chunk in await client.chat.completions.create(
            model="story", messages=[{"role": "user", "content": prompt}], max_tokens=25, temperature=0, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
        return text

    async def everything() -> None:
        async with openai.AsyncOpenAI(base_url=f"{talking.url}/v1", api_key=boss) as client:
            prompts = [f"prompt {number}" for number in range(12)]
            texts = await asyncio.gather(*(whole(client, prompt) for prompt in prompts))
            chats = await asyncio.gather(*(streamed(client, prompt) for prompt in prompts))
            vector = await client.embeddings.create(model="vectors", input="abc")
            with pytest.raises(openai.NotFoundError):
                await client.completions.create(model="none", prompt="x")
        assert texts == [expected(prompt, 25) for prompt in prompts]
        assert chats == [expected(f"user: {prompt}\nassistant: ", 25) for prompt in prompts]
        assert vector.data[0].embedding == [0.125] * 3

    asyncio.run(everything())
