"""Texts by the torch runtime: embeddings and entities of folders made here, against plain definitions and pipelines."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelapp.errors import InvalidInput, LoadError
from modelapp.runtime import LoadedModel, Run

LoadTask = Callable[..., LoadedModel]
SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}
TEXTS = ["the cat slept in the park", "Anna met Bob in Berlin, Paris", "", "a dog ran", "w30 w31 w32 w33 w34 w35 w36"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, words: Any) -> Path:
    """A tiny BERT without anything of sentence-transformers beside it."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("encoder")
    BertModel(BertConfig(**SIZES)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory, words: Any) -> Path:
    """A tiny RoBERTa that tells persons and places, at random."""
    import torch
    from transformers import RobertaConfig, RobertaForTokenClassification

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("tagger")
    labels = dict(enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]))
    config = RobertaConfig(**SIZES, pad_token_id=0, id2label=labels, label2id={v: k for k, v in labels.items()})
    model = RobertaForTokenClassification(config)
    with torch.no_grad():
        model.classifier.weight.mul_(40)  # else every word would be of one class
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def with_pooling(encoder: Path, target: Path, *modules: str, **pooling: Any) -> Path:
    """A copy of the folder, with files as sentence-transformers writes them."""
    target.mkdir()
    for file in encoder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    listed = [
        {"type": f"sentence_transformers.models.{name}", "path": f"{at}_{name}" if at else ""}
        for at, name in enumerate(("Transformer", *modules))
    ]
    (target / "modules.json").write_text(json.dumps(listed))
    (target / "1_Pooling").mkdir()
    (target / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return target


def answer(model: LoadedModel, *texts: Any) -> list[Any]:
    """One run over these texts."""
    answers: Any = model.infer([{"text": text} for text in texts], Run(len(texts)))
    return list(answers)


def states(encoder: Path, words: Any, text: str) -> Any:
    """What transformers' own model says of one text, [tokens, size]."""
    import torch
    from transformers import AutoModel

    with torch.inference_mode():
        return AutoModel.from_pretrained(encoder)(**words(text, return_tensors="pt")).last_hidden_state[0].numpy()


def test_an_embedding_is_the_normalised_mean_of_the_states(encoder: Path, words: Any, load_task: LoadTask) -> None:
    """Without other word from the folder, and that is told; texts of other lengths in the batch change nothing."""
    model = load_task(encoder, "embeddings")

    found = answer(model, *TEXTS)

    for one, text in zip(found, TEXTS, strict=True):
        mean = states(encoder, words, text).mean(0)
        np.testing.assert_allclose(one["embedding"], mean / np.linalg.norm(mean), atol=1e-5)
        assert one["tokens"] == len(words(text)["input_ids"])
        assert one["embedding"].dtype == np.float32
    assert "mean over the tokens" in model.signature.notes[-1]


@pytest.mark.parametrize(
    ("pooling", "pooled"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, lambda each: each[0]),
        ({"pooling_mode": "max"}, lambda each: each.max(0)),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, lambda each: each.sum(0) / np.sqrt(len(each))),
        ({"pooling_mode_lasttoken": True}, lambda each: each[-1]),
        (
            {"pooling_mode_weightedmean_tokens": True},
            lambda each: np.average(each, axis=0, weights=np.arange(1, len(each) + 1)),
        ),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            lambda each: np.concatenate([each[0], each.mean(0)]),
        ),
    ],
)
def test_pooling_is_as_the_folder_says(
    encoder: Path, words: Any, load_task: LoadTask, tmp_path: Path, pooling: Any, pooled: Any
) -> None:
    """Each way of sentence-transformers, over a batch of different lengths; only a listed Normalize normalises."""
    model = load_task(with_pooling(encoder, tmp_path / "e", "Pooling", **pooling), "embeddings")

    for one, text in zip(answer(model, *TEXTS), TEXTS, strict=True):
        np.testing.assert_allclose(one["embedding"], pooled(states(encoder, words, text)), atol=1e-5)
    assert model.signature.notes == ()


def test_what_stands_before_every_text_counts(encoder: Path, load_task: LoadTask, tmp_path: Path) -> None:
    """The default prompt of the folder is put before a text, as sentence-transformers does."""
    folder = with_pooling(encoder, tmp_path / "e", "Pooling", "Normalize", pooling_mode_mean_tokens=True)
    told = {"prompts": {"query": "the cat "}, "default_prompt_name": "query"}
    plain = load_task(folder, "embeddings")
    (folder / "config_sentence_transformers.json").write_text(json.dumps(told))
    prompted = load_task(folder, "embeddings")

    np.testing.assert_array_equal(answer(prompted, "ran")[0]["embedding"], answer(plain, "the cat ran")[0]["embedding"])


@pytest.mark.parametrize(
    ("modules", "pooling", "text"),
    [
        (("Pooling", "Dense"), {"pooling_mode_mean_tokens": True}, "the step Dense"),
        (("Pooling",), {"pooling_mode": "attention"}, "the pooling attention"),
        (("Normalize",), {}, "no step Pooling"),
    ],
)
def test_an_unknown_step_is_refused(
    encoder: Path, load_task: LoadTask, tmp_path: Path, modules: tuple[str, ...], pooling: Any, text: str
) -> None:
    """Leaving it out would answer vectors of another space."""
    with pytest.raises(LoadError, match=text):
        load_task(with_pooling(encoder, tmp_path / "e", *modules, **pooling), "embeddings")


def test_tokens_may_be_given(encoder: Path, words: Any, load_task: LoadTask) -> None:
    """Token ids, special ones included, have the embedding of their text."""
    model = load_task(encoder, "embeddings")

    of_text, of_ids = answer(model, TEXTS[0], words(TEXTS[0])["input_ids"])

    np.testing.assert_allclose(of_ids["embedding"], of_text["embedding"], atol=1e-6)
    assert of_ids["tokens"] == of_text["tokens"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cat " * 30, r"32 tokens, and the model reads 24 at most"),
        (list(range(4, 29)), r"25 tokens, and the model reads 24 at most"),
        ([5, 60], r"the token 60; they are 0 to 59"),
        ([], r"no token"),
        ([1.5], r"must be a str or a list of token ids"),
        ({"a": 1}, r"must be a str or a list of token ids"),
        (None, r"\"text\" is missing"),
    ],
)
def test_a_text_that_cannot_be_read_fails_alone(encoder: Path, load_task: LoadTask, text: Any, told: str) -> None:
    """Nothing is cut short; the texts beside it have their answers."""
    model = load_task(encoder, "embeddings")

    first, odd, last = answer(model, TEXTS[0], text, TEXTS[3])

    assert isinstance(odd, InvalidInput)
    assert odd.field == "text"
    with pytest.raises(InvalidInput, match=told):
        raise odd
    np.testing.assert_allclose(first["embedding"], answer(model, TEXTS[0])[0]["embedding"], atol=1e-6)
    assert last["tokens"] == 5


@pytest.mark.parametrize(("task", "folder"), [("embeddings", "encoder"), ("token-classification", "tagger")])
def test_a_text_of_no_token_fails_alone(
    request: Any, load_task: LoadTask, tmp_path: Path, task: str, folder: str
) -> None:
    """As an empty one is to a tokenizer that puts nothing around it: alone, among others, and in nobody's way."""
    shutil.copytree(request.getfixturevalue(folder), tmp_path / "bare")
    words = json.loads((tmp_path / "bare" / "tokenizer.json").read_text())
    (tmp_path / "bare" / "tokenizer.json").write_text(json.dumps(words | {"post_processor": None}))
    model = load_task(tmp_path / "bare", task)

    (alone,) = answer(model, "")
    first, odd, last = answer(model, TEXTS[0], " ", TEXTS[3])

    for refused in (alone, odd):
        assert isinstance(refused, InvalidInput)
        assert (refused.field, refused.message) == ("text", '"text" holds no token for this model')
    assert not isinstance(first, Exception)
    assert not isinstance(last, Exception)


def test_a_tokenizer_of_another_model_is_refused(
    encoder: Path, load_task: LoadTask, tmp_path: Path, words: Any
) -> None:
    """Its tokens would lie outside the model's table."""
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(**{**SIZES, "vocab_size": 50})).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    with pytest.raises(LoadError, match="its tokenizer has 60 tokens, and the model 50"):
        load_task(tmp_path, "embeddings")


def test_positions_that_begin_behind_the_padding_are_counted(tagger: Path, load_task: LoadTask) -> None:
    """RoBERTa's table of 24 positions begins with one for padding, so that 23 tokens fit."""
    model = load_task(tagger, "token-classification")

    fits, over = answer(model, "cat " * 21, "cat " * 22)

    assert "entities" in fits
    assert "24 tokens, and the model reads 23" in str(over)


def test_entities_are_those_of_the_pipeline(tagger: Path, load_task: LoadTask) -> None:
    """Words have the class of their first piece, and make entities, as transformers' own pipeline says."""
    from transformers import pipeline

    model = load_task(tagger, "token-classification")
    told = pipeline("token-classification", str(tagger), aggregation_strategy="first")
    texts = [text for text in TEXTS if text]

    found = answer(model, *texts)

    assert sum(len(one["entities"]) for one in found) > 3
    for text, one in zip(texts, found, strict=True):
        wanted = told(text)
        assert [(each["label"], each["start"], each["end"]) for each in one["entities"]] == [
            (each["entity_group"], each["start"], each["end"]) for each in wanted
        ]
        assert [each["score"] for each in one["entities"]] == pytest.approx(
            [each["score"] for each in wanted], abs=1e-5
        )
        assert all(each["text"] == text[each["start"] : each["end"]] for each in one["entities"])
    assert answer(model, "")[0] == {"entities": []}


@pytest.mark.parametrize("task", ["embeddings", "token-classification"])
def test_the_same_alone_and_in_company(encoder: Path, tagger: Path, load_task: LoadTask, task: str) -> None:
    """Whatever texts share a run."""
    model = load_task(encoder if task == "embeddings" else tagger, task)
    known = st.sampled_from(["the", "cat", "anna", "berlin", "bobby", "w40", ".", "unknown"])
    texts = st.lists(known, max_size=10).map(" ".join)

    @given(st.lists(texts, min_size=1, max_size=6))
    @settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
    def check(company: list[str]) -> None:
        for text, one in zip(company, answer(model, *company), strict=True):
            alone = answer(model, text)[0]
            if task == "embeddings":
                np.testing.assert_allclose(one["embedding"], alone["embedding"], atol=1e-5)
            else:
                scores = [each.pop("score") for each in one["entities"]]
                assert scores == pytest.approx([each.pop("score") for each in alone["entities"]], abs=1e-5)
                assert one == alone

    check()
