"""Bearer tokens: what the variable may hold, and what a header opens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import Server, Token
from modelapp.errors import Forbidden, SurroundingsError, Unauthorized
from modelapp.tokens import Keyring, Secret, Vault, read

LONG = "a" * 16
OTHER = "b" * 20


def server(**tables: Token) -> Server:
    """A [server] that asks for tokens."""
    return Server(tokens_env="TOKENS", tokens=tables)


def names(text: str) -> list[tuple[str, str]]:
    """What is read out of a text."""
    return [(secret.name, secret.text) for secret in read(server(), {"TOKENS": text})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LONG, [("default", LONG)]),
        (f"web={LONG}", [("web", LONG)]),
        (f"web={LONG},ci={OTHER}", [("web", LONG), ("ci", OTHER)]),
        (f"\n web={LONG}\n\t ci={OTHER} ,\n", [("web", LONG), ("ci", OTHER)]),
        (f"web={LONG} web={OTHER}", [("web", LONG), ("web", OTHER)]),
        (f"web={LONG}==", [("web", f"{LONG}==")]),
        (f"{LONG} {OTHER}", [("default", LONG), ("default", OTHER)]),
        (f"web={LONG} web={LONG}", [("web", LONG), ("web", LONG)]),
    ],
)
def test_entries_are_separated_by_spaces_or_commas(text, expected):
    """A secret may have = in it once a name stands before; a name may have several, to change one for another."""
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "TOKENS, which is empty"),
        (" , \n", "TOKENS, which is empty"),
        ("web=tooshort", "entry 1 of TOKENS is shorter than 16"),
        (f"{LONG}, {LONG[1:]}", "entry 2 of TOKENS is shorter than 16"),
        (f"{LONG}=", "entry 1 of TOKENS is shorter than 16"),
        (f"={LONG}", "entry 1 of TOKENS has no usable name"),
        (f"we/b={LONG}", "entry 1 of TOKENS has no usable name"),
        (f"{'n' * 65}={LONG}", "entry 1 of TOKENS has no usable name"),
        (f"web={LONG}é", "entry 1 of TOKENS has characters"),
        (f"web={LONG} ci={LONG}", 'gives "web" and "ci" the same secret'),
    ],
)
def test_what_would_not_protect_is_refused(text, message):
    """Told by the number of the entry, since what looks like a name may be half of a secret."""
    with pytest.raises(SurroundingsError, match=message) as caught:
        names(text)
    assert LONG not in str(caught.value)
    assert LONG[1:] not in str(caught.value)


def test_a_variable_that_is_not_there_is_refused():
    """An app that asks for tokens is never served without."""
    with pytest.raises(SurroundingsError, match="TOKENS, which is not set"):
        read(server(), {})
    assert read(Server(), {"TOKENS": "short"}) == ()


def test_a_table_without_its_token_is_refused():
    """Nobody could use what it allows; a token without a table is fine."""
    with pytest.raises(SurroundingsError, match=r"\[server.tokens.ci\] speaks of a token"):
        read(server(ci=Token(name="ci")), {"TOKENS": f"web={LONG}"})
    assert read(server(web=Token(name="web")), {"TOKENS": f"web={LONG} ci={OTHER}"})


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_and_never_quoted(text):
    """Whatever stands in the variable; an error holds no word of eight characters out of it."""
    try:
        names(text)
    except SurroundingsError as error:
        told = str(error)
        known = {"characters", "separate", "entries", "commas,", "name=secret"}
        assert not [word for word in text.split() if len(word) >= 8 and word in told and word not in known]


def test_a_secret_is_not_in_its_repr():
    """Nor in that of what holds it."""
    assert LONG not in repr(Secret("web", LONG))


def test_the_environment_forgets_what_was_taken():
    """And the vault does not: a reload asks again."""
    environment = {"TOKENS": f"web={LONG}", "MORE": OTHER}
    vault = Vault(environment)
    assert vault.take(server()) == vault.take(server()) == (Secret("web", LONG),)
    assert environment == {"MORE": OTHER}
    assert vault.take(Server(tokens_env="MORE")) == (Secret("default", OTHER),)
    assert not vault.take(Server())
    assert not environment


RING = Keyring(
    [Secret("web", LONG), Secret("web", OTHER), Secret("ci", "c" * 16)],
    {"ci": Token(name="ci", endpoints=("score",), admin=True)},
)


@pytest.mark.parametrize("header", [f"Bearer {LONG}", f"bearer   {OTHER}", f"BEARER {LONG} "])
def test_every_secret_of_a_name_opens(header):
    """While one is changed for another both are accepted; the scheme's case is free."""
    assert RING.find(header).name == "web"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", f"Basic {LONG}", LONG, f"Bearer{LONG}"])
def test_no_token_gets_the_challenge(header):
    """RFC 6750: the scheme alone where nothing was presented."""
    with pytest.raises(Unauthorized) as caught:
        RING.find(header)
    assert caught.value.headers == (("www-authenticate", "Bearer"),)


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.strip()))
def test_an_unknown_token_is_refused_whatever_it_is(text):
    """Surrogates included; the answer does not repeat it."""
    with pytest.raises(Unauthorized) as caught:
        RING.find(f"Bearer {text}")
    assert caught.value.headers in (
        (("www-authenticate", 'Bearer error="invalid_token"'),),
        (("www-authenticate", "Bearer"),),
    )


@pytest.mark.parametrize("near", [LONG[:-1], LONG + "a", LONG.upper(), "a" * 15 + "b"])
def test_what_is_nearly_a_secret_is_none(near):
    """Neither a prefix nor another case."""
    with pytest.raises(Unauthorized):
        RING.find(f"Bearer {near}")


def allowed(table: Token | None, access: str, name: str = "") -> bool:
    """Whether a token with that table may."""
    try:
        Keyring([Secret("t", LONG)], {} if table is None else {"t": table}).find(f"Bearer {LONG}").check(access, name)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    ("table", "may", "may_not"),
    [
        (None, [("endpoint", "a"), ("model", "m"), ("metrics", "")], [("admin", "")]),
        (Token(name="t"), [("endpoint", "a"), ("model", "m"), ("metrics", "")], [("admin", "")]),
        (Token(name="t", endpoints=("a",)), [("endpoint", "a"), ("metrics", "")], [("endpoint", "b"), ("model", "m")]),
        (Token(name="t", endpoints=("a",), models=("m",)), [("model", "m")], [("model", "n"), ("endpoint", "b")]),
        (Token(name="t", models=("m",)), [("endpoint", "b"), ("model", "m")], [("model", "n")]),
        (Token(name="t", endpoints=()), [("metrics", "")], [("endpoint", "a"), ("model", "m")]),
        (Token(name="t", admin=True), [("admin", ""), ("endpoint", "a")], []),
    ],
)
def test_a_table_says_what_its_token_may(table, may, may_not):
    """`models` is nothing where `endpoints` is given alone: a model could be reached past the endpoints."""
    assert [allowed(table, *one) for one in may] == [True] * len(may)
    assert [allowed(table, *one) for one in may_not] == [False] * len(may_not)
