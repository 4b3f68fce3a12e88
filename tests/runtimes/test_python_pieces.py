"""Classes of the python runtime that answer piece by piece: how `stream` is declared, called, ended and joined."""

from collections.abc import Callable

import pytest

from modelapp.errors import Cancelled, InvalidInput, LoadError, ModelFailed
from modelapp.runtime import LoadedModel, Run, Streams

Load = Callable[..., LoadedModel]

TELLER = """
    from collections.abc import Iterator

    ended = []

    class Model:
        def stream(self, row: dict) -> Iterator[dict]:
            try:
                for word in row["text"].split():
                    yield {"text": word + " ", "length": len(word)}
            finally:
                ended.append(row["text"])
                row.clear()
"""
CLASSES = """
    from collections.abc import Iterator
    from dataclasses import dataclass

    @dataclass
    class Row:
        text: str

    @dataclass
    class Part:
        text: str

    class Model:
        def predict(self, batch: list[Row]) -> list[Part]:
            return [Part(row.text.upper()) for row in batch]

        def stream(self, row: Row) -> Iterator[Part]:
            return map(Part, row.text)
"""


def test_a_class_with_stream_alone_answers_both_ways(load_python: Load) -> None:
    """Its whole answer is its pieces joined; what it does to its row is nobody else's."""
    model = load_python(TELLER)
    assert isinstance(model, Streams)
    row = {"text": "once upon a"}

    assert list(model.stream(row, Run())) == [
        {"text": "once ", "length": 4},
        {"text": "upon ", "length": 4},
        {"text": "a ", "length": 1},
    ]
    assert model.infer([row, {"text": "time"}], Run()) == [
        {"text": "once upon a ", "length": 1},
        {"text": "time ", "length": 4},
    ]
    assert row == {"text": "once upon a"}


def test_rows_and_pieces_may_be_classes_and_predict_stays_its_own(load_python: Load) -> None:
    """`stream` is no part of `predict`; a field that does not fit is told as there."""
    model = load_python(CLASSES)
    assert isinstance(model, Streams)

    assert list(model.stream({"text": "ab"}, Run())) == [{"text": "a"}, {"text": "b"}]
    assert model.infer([{"text": "ab"}], Run()) == [{"text": "AB"}]
    with pytest.raises(InvalidInput, match='"words" is no field of Row'):
        list(model.stream({"words": 1}, Run()))


def test_a_class_without_it_does_not_stream(load_python: Load) -> None:
    """The core looks for the method."""
    plain = """
    class Model:
        def predict(self, batch: list[dict]) -> list[dict]:
            return batch
    """
    assert not isinstance(load_python(plain), Streams)


def test_whoever_stops_ends_the_generator(load_python: Load) -> None:
    """A closed stream at once, a cancelled run at its next piece, also where pieces are joined."""
    model = load_python(TELLER)
    assert isinstance(model, Streams)
    ended = model._instance.stream.__func__.__globals__["ended"]  # type: ignore[attr-defined]
    stream = model.stream({"text": "a b"}, Run())
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    assert ended == ["a b"]
    run = Run()
    run.cancel()
    with pytest.raises(Cancelled):
        model.infer([{"text": "c d"}], run)
    assert ended == ["a b", "c d"]


def test_a_piece_that_is_no_record_is_the_models_failure(load_python: Load) -> None:
    """With what came instead."""
    model = load_python(TELLER.replace('{"text": word + " ", "length": len(word)}', "word"))
    with pytest.raises(ModelFailed, match="a piece of stream is str, not a record"):
        model.infer([{"text": "a"}], Run())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("if row: return\n        yield {}", "stream answered no piece"),
        ("return iter(())", "stream answered no piece"),
        ("return {'text': 'a'}", "stream returned a record; it must yield pieces: write yield, not return"),
        ("return None", "stream returned NoneType; it must yield pieces: write yield, not return"),
    ],
)
def test_a_stream_without_pieces_is_the_models_failure(load_python: Load, body: str, words: str) -> None:
    """It names the class and where it is written, joined or piece by piece."""
    head = "from collections.abc import Iterator\nclass Model:\n    def stream(self, row: dict) -> Iterator[dict]:\n"
    model = load_python(f"{head}        {body}\n")
    assert isinstance(model, Streams)
    for ask in (lambda: list(model.stream({"a": 1}, Run())), lambda: model.infer([{"a": 1}], Run())):
        with pytest.raises(ModelFailed) as caught:
            ask()
        assert caught.value.message == f"handlers.py:3: class Model: {words}"


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("async def stream(self, row: dict) -> Iterator[dict]: yield {}", "stream is async"),
        ("def stream(self, row) -> Iterator[dict]: yield {}", 'the parameter "row" of stream has no type hint'),
        ("def stream(self, row: dict): yield {}", "the answer of stream has no type hint"),
        ("def stream(self, row: dict) -> Iterator[str]: yield ''", "is no record, or no records"),
        ("def stream(self, row: list[dict]) -> Iterator[dict]: yield {}", "is no record, or no records"),
        ("def stream(self) -> Iterator[dict]: yield {}", "stream must take one row and nothing else, it takes nothing"),
        ("def stream(self, row: dict, more: int) -> Iterator[dict]: yield {}", "it takes row, more"),
    ],
)
def test_a_stream_that_cannot_be_called_is_refused(load_python: Load, method: str, words: str) -> None:
    """When the model is loaded, with how to write it."""
    with pytest.raises(LoadError, match=words) as caught:
        load_python(f"from collections.abc import Iterator\nclass Model:\n    {method}\n")
    assert "def stream(self, row: Row) -> Iterator[Piece]" in caught.value.help


def test_arrays_and_pieces_do_not_go_together(load_python: Load) -> None:
    """A record cannot be made of named arrays, nor the other way round."""
    text = """
    from collections.abc import Iterator, Mapping
    from typing import Any
    from numpy.typing import NDArray
    from modelapp.signature import TensorSpec

    class Model:
        inputs = outputs = (TensorSpec("x", "float32", ("batch",)),)
        def predict(self, batch: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            return batch
        def stream(self, row: dict) -> Iterator[dict]:
            yield {}
    """
    with pytest.raises(LoadError, match="predict takes arrays, and stream a record"):
        load_python(text)
