"""Where a text may be cut: lines, sections and the comments that belong to them."""

import pytest

from modelapp import splicing
from modelapp.spans import Span, index

TEXT = """\
# of all

x = 1
# of a
[a]
y = [
  1,
]
# z = 2

# apart

# of b
[[b]]
"""


def test_sections_are_the_top_and_every_header_with_the_lines_of_their_pairs() -> None:
    """Comments and blank lines behind the last pair are not theirs."""
    found = splicing.sections(TEXT, index(TEXT))
    assert [(one.path, TEXT[one.start : one.end]) for one in found] == [
        ((), "# of all\n\nx = 1\n"),
        (("a",), "[a]\ny = [\n  1,\n]\n"),
        (("b", 0), "[[b]]\n"),
    ]


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n"), "\ufeff" + TEXT])
def test_a_block_has_its_comment_above_and_what_is_commented_out_below(text: str) -> None:
    """A comment that a blank line sets apart is neither's."""
    all_of = splicing.sections(text, index(text))
    blocks = [text[slice(*splicing.block(text, all_of, number))].replace("\r\n", "\n") for number in (1, 2)]
    assert blocks == ["# of a\n[a]\ny = [\n  1,\n]\n# z = 2\n", "# of b\n[[b]]\n"]


def test_a_comment_between_two_tables_is_of_the_second() -> None:
    """Where no blank line parts it from either."""
    text = "[a]\nx = 1\n# of b\n[b]\n"
    all_of = splicing.sections(text, index(text))
    assert text[slice(*splicing.block(text, all_of, 1))] == "[a]\nx = 1\n"
    assert text[slice(*splicing.block(text, all_of, 2))] == "# of b\n[b]\n"


def test_what_looks_like_a_comment_in_a_text_is_none() -> None:
    """A block never reaches into the value above it."""
    text = 'x = """\n# no\n"""\n[a]\n'
    all_of = splicing.sections(text, index(text))
    assert text[slice(*splicing.block(text, all_of, 1))] == "[a]\n"


def test_lines_that_hold_more_than_a_pair_are_not_its_own() -> None:
    """A comment behind it is no more."""
    assert splicing.whole_lines("a = 1 # x\nb\n", Span(0, 5)) == Span(0, 10)
    assert splicing.whole_lines("\ufeffa = 1\n", Span(1, 6)) == Span(1, 7)
    assert splicing.whole_lines("{ a = 1 }\n", Span(2, 7)) is None


def test_a_pair_is_written_in_the_table_of_its_header_or_in_an_inline_one() -> None:
    """Dotted keys make no difference."""
    text = "[a]\nb.c = { d.e = 1 }\n"
    spans = index(text)
    assert splicing.table_of(text, spans, ("a", "b", "c")) == ("a",)
    assert splicing.table_of(text, spans, ("a", "b", "c", "d", "e")) == ("a", "b", "c")


def test_only_keys_and_items_have_a_removal() -> None:
    """A table is more than one edit."""
    spans = index(TEXT)
    assert splicing.removal(TEXT, spans, ("a",)) is None
    assert splicing.removal(TEXT, spans, ("b", 0)) is None
    for path in (("x",), ("a", "y", 0)):
        assert splicing.removal(TEXT, spans, path)
