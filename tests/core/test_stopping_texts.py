"""An answer ends before a stop text, and never shows a character of it, however its tokens are cut."""

from hypothesis import example, given
from hypothesis import strategies as st

from modelapp.stopping import Answer


class Pieces:
    """A text stream whose tokens are the places of texts in a list; `rest` is what it gives at its end."""

    def __init__(self, texts, rest=""):
        self.texts, self.rest = texts, rest

    def push(self, token):
        """That text."""
        return self.texts[token]

    def flush(self):
        """What is left."""
        return self.rest


class Characters:
    """One byte of UTF-8 a token: characters come when they are whole."""

    def __init__(self, data):
        self.data, self.held = data, b""

    def push(self, token):
        """A character, once it is one."""
        self.held += self.data[token : token + 1]
        try:
            text = self.held.decode()
        except UnicodeDecodeError:
            return ""
        self.held = b""
        return text

    def flush(self):
        """Half a character is none."""
        text, self.held = self.held.decode(errors="replace"), b""
        return text


def cut(text, stops):
    """`text` up to the stop text that is complete first, of those complete at once the longest."""
    for end in range(1, len(text) + 1):
        begins = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if begins:
            return text[: min(begins)]
    return None


TEXTS = st.lists(st.text("abc", max_size=4), max_size=12)
STOPS = st.lists(st.text("abc", min_size=1, max_size=5), max_size=3)


@given(TEXTS, st.text("abc", max_size=2), STOPS)
@example(["a", "b", "c"], "", ["abcb", "bc"])
@example(["ab", "ab", "ac"], "", ["abac"])
@example(["a"], "b", ["ab"])
def test_what_is_given_is_the_text_before_the_first_stop(texts, rest, stops):
    """However it is cut into tokens, and each character as soon as it cannot be the beginning of a stop text."""
    answer = Answer(Pieces(texts, rest), stops)
    whole = "".join(texts) + rest
    wanted = cut(whole, stops)
    given_so_far = ""
    for token in range(len(texts)):
        stopped_before = answer.stopped
        piece = answer.push(token)
        given_so_far += piece
        read = "".join(texts[: token + 1])
        assert not (stopped_before and piece)
        assert answer.stopped == (cut(read, stops) is not None)
        if not answer.stopped:
            held = read[len(given_so_far) :]
            assert read.startswith(given_so_far)
            assert not held or any(stop.startswith(held) for stop in stops)
    given_so_far += answer.finish()
    assert given_so_far == (whole if wanted is None else wanted)
    assert answer.stopped == (wanted is not None)


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=3), max_size=2))
def test_never_half_a_character(text, stops):
    """Each piece is whole, with tokens of one byte each."""
    data = text.encode(errors="ignore")
    answer = Answer(Characters(data), stops)
    pieces = [answer.push(token) for token in range(len(data))] + [answer.finish()]
    whole = data.decode()
    wanted = cut(whole, stops)
    assert "".join(pieces) == (whole if wanted is None else wanted)


def test_without_stop_texts_everything_goes_through_at_once():
    """Nothing is held back."""
    answer = Answer(Pieces(["a", "b"], "rest"))
    assert [answer.push(0), answer.push(1), answer.finish()] == ["a", "b", "rest"]
    assert not answer.stopped


def test_a_stop_text_that_comes_too_early_is_passed_over():
    """The answer has at least so many tokens; a later one ends it, also one that had begun before."""
    answer = Answer(Pieces(["x.", "y.", "z."]), ["."], min_tokens=2)
    assert [answer.push(0), answer.push(1), answer.push(2)] == ["x.", "y.", "z"]
    assert answer.stopped
    answer = Answer(Pieces(["x", "EN", "D!"]), ["END"], min_tokens=2)
    assert [answer.push(0), answer.push(1), answer.push(2)] == ["x", "", ""]
    assert answer.stopped
