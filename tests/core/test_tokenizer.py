"""Texts and chats into tokens and back, as the tokenizers library and transformers do it, and piece by piece."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from modelapp.errors import InvalidInput, LoadError
from modelapp.tokenizer import Tokenizer

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
WORDS = ["▁", "a", "b", "the", "1", ".", "é", "▁a", "▁▁", "▁the", "😀"]
TRANSFORMERS = pytest.mark.filterwarnings("ignore")  # what transformers warns of is not ours to mend


def made(decoder, words, *, normalizer=None, pre_tokenizer=None):
    """A tokenizer with special tokens 0 to 2, a token for each byte, words, and an added token with spaces in it."""
    vocabulary = {word: place for place, word in enumerate(["<unk>", "<s>", "</s>", *BYTES, *words])}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoder
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens(["<tool>", " x y "])
    return tokenizer


def byte_level():
    """A vocabulary of every byte, and of some strings of them that are no whole characters."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    emoji = "".join(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("😀é")[0][0])
    words = ["<s>", *letters, emoji[:2], emoji[2:5], emoji[3:]]
    tokenizer = tokenizers.Tokenizer(models.BPE({word: place for place, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.add_tokens(["<tool>", "  ", "日本"])
    return tokenizer


def llama():
    """As sentencepiece models are converted: a leading space goes, bytes stand in for what is missing."""
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    spaces = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    return made(decoders.Sequence(steps), WORDS, normalizer=normalizers.Sequence(spaces))


MAKERS = {
    "byte level": byte_level,
    "llama": llama,
    "gemma": lambda: made(
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]), WORDS
    ),
    "metaspace": lambda: made(decoders.Metaspace(), WORDS, pre_tokenizer=pre_tokenizers.Metaspace()),
    "wordpiece": lambda: made(decoders.WordPiece(), ["a", "##b", "the", "##s", ".", "'", "n't", "do", "1"]),
    "suffixes": lambda: made(decoders.BPEDecoder("</w>"), ["a</w>", "b", "the</w>", "1</w>", "."]),
    "repeats": lambda: made(decoders.CTC("<unk>", "|"), ["a", "b", "|"]),
    "bare": lambda: made(None, ["a", "the", "1"]),
}
LIBRARY = {name: make() for name, make in MAKERS.items()}
OURS = {name: Tokenizer(make()) for name, make in MAKERS.items()}


@st.composite
def token_lists(draw, name):
    """Tokens of the vocabulary, some beyond it, mostly no single bytes."""
    size = LIBRARY[name].get_vocab_size()
    words = st.integers(259, size + 1) if size > 259 and name != "byte level" else st.integers(0, size + 1)
    return draw(st.lists(st.one_of(words, words, st.integers(0, size + 1)), max_size=10))


@pytest.mark.parametrize("name", list(MAKERS))
@given(st.data())
def test_a_stream_gives_what_decoding_all_at_once_gives(name, data):
    """Whole characters only, special tokens and unknown ones left out, and as the library decodes it.

    But for broken bytes: where the library takes the good ones beside them away too, they alone are replaced.
    """
    tokens = data.draw(token_lists(name))
    library, ours = LIBRARY[name], OURS[name]
    stream = ours.stream()
    pieces = [stream.push(token) for token in tokens]
    rest = stream.flush()
    whole = "".join(pieces) + rest
    assert whole == ours.decode(tokens)
    decoded = library.decode(tokens)
    if "\ufffd" not in whole or name == "byte level":
        assert whole == decoded
    assert "".join(pieces).encode().decode() == "".join(pieces)


@pytest.mark.parametrize("name", ["byte level", "llama", "gemma", "metaspace"])
@given(text=st.text(alphabet=st.one_of(st.sampled_from("ab 1.the<😀é"), st.characters(codec="utf-8")), max_size=12))
@example(text=" 😀😀")
@example(text="  the  a")
def test_texts_come_back_byte_by_byte(name, text):
    """Each character comes with its last byte: an emoji of four tokens comes with the fourth."""
    ours = OURS[name]
    tokens = ours.encode(text)
    stream = ours.stream()
    given_so_far = ""
    for place, token in enumerate(tokens):
        given_so_far += stream.push(token)
        assert LIBRARY[name].decode(tokens).startswith(given_so_far)
        if "\ufffd" not in (whole := LIBRARY[name].decode(tokens[: place + 1])):
            assert given_so_far == whole
    assert stream.flush() == ""
    assert given_so_far == LIBRARY[name].decode(tokens)


def test_an_incomplete_character_at_the_end_is_replaced():
    """Not before the end."""
    ours = OURS["byte level"]
    tokens = ours.encode("a😀")
    stream = ours.stream()
    assert [stream.push(token) for token in tokens[:-1]] == ["a"] + [""] * (len(tokens) - 2)
    assert stream.flush() == "\ufffd"


def test_tokens_are_shown_as_people_read_them():
    """Special ones too; a part of a character as U+FFFD, an unknown one as nothing."""
    ours = OURS["llama"]
    assert [ours.token_text(ours.token_id(word)) for word in ("▁the", "the", "<s>", "é", "<0x41>", "<0xC3>")] == [
        " the", "the", "<s>", "é", "A", "\ufffd",
    ]  # fmt: skip
    assert ours.token_text(100_000) == ""
    assert OURS["suffixes"].token_text(OURS["suffixes"].token_id("the</w>")) == "the</w>"
    assert ours.size == LIBRARY["llama"].get_vocab_size()


def folder(path, tokenizer, **files):
    """A model's folder with this tokenizer and these files."""
    tokenizer.save(str(path / "tokenizer.json"))
    for name, content in files.items():
        file, text = name.replace("__", "."), content if isinstance(content, str) else json.dumps(content)
        (path / file).write_text(text)
    return path


@TRANSFORMERS
@pytest.mark.parametrize("add_bos", [None, True, False])
@pytest.mark.parametrize("begun", [True, False])
def test_a_prompt_begins_as_with_transformers(tmp_path, begun, add_bos):
    """As tokenizer.json has it, whatever tokenizer_config.json says beside it."""
    from transformers import AutoTokenizer

    tokenizer = llama()
    if begun:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    told = config if add_bos is None else config | {"add_bos_token": add_bos}
    folder(tmp_path, tokenizer, tokenizer_config__json=told)
    ours = Tokenizer.from_folder(tmp_path).encode("a 1")
    assert ours == AutoTokenizer.from_pretrained(tmp_path)("a 1").input_ids
    assert (ours[0] == 1) == begun


def test_without_the_library_the_install_is_named(tmp_path, monkeypatch):
    """The extra that brings it."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(LoadError) as caught:
        Tokenizer.from_folder(tmp_path)
    assert caught.value.help == "pip install 'modelapp[text]'"


def test_bounds_that_a_tokenizer_was_saved_with_cut_nothing(tmp_path):
    """A prompt is refused where it is too long, and not cut in silence, nor padded."""
    bounded = byte_level()
    bounded.enable_truncation(2)
    bounded.enable_padding(length=8)
    assert len(Tokenizer.from_folder(folder(tmp_path, bounded)).encode("abcd")) == 4


def test_special_tokens_come_from_either_file(tmp_path):
    """tokenizer_config.json has the last word."""
    there = folder(
        tmp_path,
        byte_level(),
        special_tokens_map__json={"bos_token": "<old>", "eos_token": {"content": "<s>"}, "more": ["<x>"]},
        tokenizer_config__json={"bos_token": "<s>", "pad_token": None, "add_bos_token": False},
    )
    assert Tokenizer.from_folder(there).special == {"bos_token": "<s>", "eos_token": "<s>"}


TEMPLATES = "named {{ messages[0].content }}"


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, ""),
        ({"tokenizer_config__json": {"chat_template": TEMPLATES}}, TEMPLATES),
        ({"tokenizer_config__json": {"chat_template": [{"name": "tools", "template": "no"},
          {"name": "default", "template": TEMPLATES}]}}, TEMPLATES),
        ({"tokenizer_config__json": {"chat_template": "no"}, "chat_template__jinja": TEMPLATES}, TEMPLATES),
    ],
)  # fmt: skip
def test_a_folders_chat_template_is_found(tmp_path, files, wanted):
    """In a file of its own, or in the settings, alone or among several."""
    assert Tokenizer.from_folder(folder(tmp_path, byte_level(), **files)).chat_template == wanted


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "tokenizer.json is missing"),
        ({"tokenizer.json": "{"}, "cannot be read as a tokenizer"),
        ({"tokenizer_config.json": "{"}, "is not JSON"),
        ({"tokenizer_config.json": "[]"}, "must hold an object"),
    ],
)
def test_a_broken_folder_does_not_load(tmp_path, files, told):
    """The file is named."""
    if "tokenizer_config.json" in files:
        folder(tmp_path, byte_level())
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(LoadError, match=told):
        Tokenizer.from_folder(tmp_path)


def test_a_long_text_holds_up_no_other_thread():
    """Python goes on elsewhere while it is cut into tokens: whoever is written for meanwhile has the next token."""
    text, encode, ticks = "It was a dark night; " * 30_000, Tokenizer(byte_level()).encode, 0
    with ThreadPoolExecutor(1) as threads:
        encoding = threads.submit(encode, text)
        while not encoding.done():
            time.sleep(0.001)
            ticks += 1
    assert len(encoding.result()) > 600_000 / 2
    assert ticks >= 10  # with Python's lock held, about one


def test_half_a_character_is_refused():
    """JSON can carry a lone surrogate, UTF-8 cannot."""
    chat = Tokenizer(byte_level(), chat_template="{{ messages[0].content }}")
    with pytest.raises(InvalidInput, match="half a character"):
        chat.encode("\ud800")
    with pytest.raises(InvalidInput, match="half a character"):
        chat.chat([{"role": "user", "content": "\ud800"}])


def test_a_chat_is_tokenized_without_further_beginnings():
    """The template says what stands at the beginning, and the special tokens in it are read as such."""
    begun = byte_level()
    begun.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    chat = Tokenizer(begun, chat_template="{{ bos_token }}{{ messages[0].content }}", special={"bos_token": "<s>"})
    assert chat.chat([{"role": "user", "content": "ab"}]) == chat.encode("ab")
    assert chat.encode("ab")[0] == 0


@TRANSFORMERS
@settings(max_examples=50)
@given(st.data())
def test_it_decodes_as_transformers_does(data):
    """The same text for the same tokens, special ones skipped."""
    from transformers import PreTrainedTokenizerFast

    for name in ("byte level", "llama", "wordpiece"):
        theirs = PreTrainedTokenizerFast(tokenizer_object=LIBRARY[name], clean_up_tokenization_spaces=False)
        tokens = data.draw(token_lists(name))
        whole = OURS[name].decode(tokens)
        if "\ufffd" not in whole or name == "byte level":
            assert whole == theirs.decode(tokens, skip_special_tokens=True)


@pytest.fixture(scope="module")
def tiny_gpt2():
    """The tokenizer of the tiny GPT-2 of apps/dungeon, ours and transformers'."""
    from transformers import AutoTokenizer

    model = Path(__file__).parents[2] / "apps" / "dungeon" / "models" / "tiny_gpt2"
    return Tokenizer.from_folder(model), AutoTokenizer.from_pretrained(model)


@TRANSFORMERS
@given(data=st.data())
def test_the_tokenizer_of_a_real_model_does_what_transformers_does(tiny_gpt2, data):
    """Texts into tokens, tokens into texts."""
    ours, theirs = tiny_gpt2
    text = data.draw(st.text(alphabet=st.one_of(st.sampled_from("go north.\n é😀"), st.characters(codec="utf-8"))))
    assert ours.encode(text) == theirs(text).input_ids
    tokens = data.draw(st.lists(st.integers(0, ours.size - 1)))
    assert ours.decode(tokens) == theirs.decode(tokens, skip_special_tokens=True)
