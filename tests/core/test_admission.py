"""Who may come in."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.admission import Admission
from modelapp.app import App, AppInfo, Endpoint, Server, Token
from modelapp.call import Call
from modelapp.errors import Forbidden, NotReady, QueueFull, RateLimited, RequestError, SurroundingsError, Unauthorized
from modelapp.lifecycle import Lifecycle
from modelapp.testing import FakeClock
from modelapp.tokens import Vault

WEB, CI = "web-secret-0123456789", "ci-secret-0123456789"


def app(endpoints: dict[str, int] | None = None, **server: Any) -> App:
    """An app with these endpoints, name -> max_concurrent."""
    tables = {name: Endpoint(name=name, model="m", max_concurrent=most) for name, most in (endpoints or {}).items()}
    return App(app=AppInfo(name="app"), endpoints=tables, server=Server(**server))


def ready(what: App, clock: Callable[[], float] | None = None) -> Admission:
    """The door of a replica that takes requests."""
    lifecycle = Lifecycle()
    lifecycle.ready()
    vault = Vault({"T": f"web={WEB} ci={CI}", "WEB_ALONE": f"web={WEB}"})
    admission = Admission(lifecycle, clock=clock or FakeClock(), vault=vault)
    admission.configure(what)
    return admission


def call(secret: str = "", *, trusted: bool = False) -> Call:
    """A request with a token."""
    found = Call(0.0, headers={"authorization": f"Bearer {secret}"} if secret else {})
    found.trusted = trusted
    return found


def test_nobody_comes_in_before_it_is_ready_but_for_health() -> None:
    """503, with the reason."""
    admission = Admission(Lifecycle())
    with pytest.raises(NotReady, match="starting"):
        admission.enter(Call(0.0), "endpoint", "score")
    admission.enter(Call(0.0), "open", always=True)


def test_one_more_than_the_most_in_flight_is_refused_with_a_time_to_come_back() -> None:
    """The lifecycle counts every request, also the one that is refused."""
    lifecycle = Lifecycle()
    lifecycle.ready()
    admission = Admission(lifecycle, max_in_flight=1)
    lifecycle.enter()
    admission.enter(Call(0.0), "endpoint", "score")
    lifecycle.enter()
    with pytest.raises(QueueFull) as caught:
        admission.enter(Call(0.0), "endpoint", "score")
    assert caught.value.retry_after_s


@pytest.mark.parametrize("access", ["endpoint", "model", "metrics", "admin"])
@pytest.mark.parametrize("always", [False, True])
def test_without_a_known_token_only_health_is_told(access, always) -> None:
    """Also on routes that answer while the replica takes no requests."""
    admission = ready(app(tokens_env="T"))
    for one in (call(), call("another-secret-0123")):
        with pytest.raises(Unauthorized):
            admission.enter(one, access, "score", always=always)
    admission.enter(call(), "open", always=always)


def test_a_token_names_its_request_and_opens_what_its_table_says() -> None:
    """The name goes on to logs and metrics; a refusal has it too."""
    admission = ready(app(tokens_env="T", tokens={"ci": Token(name="ci", endpoints=("score",))}))
    mine = call(CI)
    admission.enter(mine, "endpoint", "score")
    assert mine.token == "ci"
    refused = call(CI)
    with pytest.raises(Forbidden, match="ci"):
        admission.enter(refused, "endpoint", "other")
    assert refused.token == "ci"


def test_a_model_that_is_named_in_the_body_is_asked_for_again() -> None:
    """A request is let in before its body is read; what its token may call holds for what stands in there."""
    admission = ready(app(tokens_env="T", tokens={"ci": Token(name="ci", models=("digits",))}))
    mine = call(CI)
    admission.enter(mine, "model", "")
    mine.check_model("digits")
    with pytest.raises(Forbidden, match="may not call this model"):
        mine.check_model("other")
    trusted = call(trusted=True)
    admission.enter(trusted, "model", "")
    trusted.check_model("other")


@pytest.mark.parametrize("server", [{}, {"rate_per_s": 100}])
def test_an_administrator_needs_tokens_to_be_known_by(server) -> None:
    """Where nobody is asked for a token, nobody changes what is served, except whoever holds the control token."""
    admission = ready(app(**server))
    with pytest.raises(Forbidden, match="tokens_env"):
        admission.enter(call(), "admin")
    admission.enter(call(trusted=True), "admin")


def test_the_control_token_passes_every_bound() -> None:
    """`modelapp test` is not refused by the limits it runs under."""
    admission = ready(app({"score": 1}, tokens_env="T", rate_per_s=1, max_concurrent=1))
    for _ in range(5):
        admission.enter(call(trusted=True), "endpoint", "score")


@pytest.mark.parametrize(
    ("what", "scope"),
    [
        (app({"score": 0}, tokens_env="T", max_concurrent=2), "server"),
        (app({"score": 2}, tokens_env="T"), "endpoint score"),
        (app({"score": 0}, tokens_env="T", tokens={"web": Token(name="web", max_concurrent=2)}), "token web"),
    ],
)
def test_each_bound_of_requests_at_a_time(what, scope) -> None:
    """429 with a time to come back; who leaves makes room."""
    admission = ready(what)
    inside = [call(WEB), call(WEB)]
    for one in inside:
        admission.enter(one, "endpoint", "score")
    late = call(WEB)
    with pytest.raises(QueueFull, match=scope) as caught:
        admission.enter(late, "endpoint", "score")
    assert caught.value.retry_after_s
    admission.leave(late)
    with pytest.raises(QueueFull):
        admission.enter(call(WEB), "endpoint", "score")
    admission.leave(inside[0])
    admission.enter(call(WEB), "endpoint", "score")


@pytest.mark.parametrize(
    "what",
    [app(tokens_env="T", rate_per_s=2), app(tokens_env="T", tokens={"web": Token(name="web", rate_per_s=2)})],
)
def test_each_bound_of_requests_a_second(what) -> None:
    """429 that says when the next may come, whether anybody left or not."""
    clock = FakeClock(1000.0)
    admission = ready(what, clock)
    for _ in range(2):
        one = call(WEB)
        admission.enter(one, "endpoint", "score")
        admission.leave(one)
    with pytest.raises(RateLimited) as caught:
        admission.enter(call(WEB), "endpoint", "score")
    assert caught.value.retry_after_s == pytest.approx(0.5)
    clock.advance(0.5)
    admission.enter(call(WEB), "endpoint", "score")


def test_one_who_is_refused_has_used_up_nothing() -> None:
    """A token over its own rate takes nothing of the server's, which others need."""
    clock = FakeClock(1000.0)
    admission = ready(app(tokens_env="T", rate_per_s=3, tokens={"ci": Token(name="ci", rate_per_s=1)}), clock)
    admission.enter(call(CI), "endpoint", "score")
    for _ in range(10):
        with pytest.raises(RateLimited, match="token ci"):
            admission.enter(call(CI), "endpoint", "score")
    admission.enter(call(WEB), "endpoint", "score")
    admission.enter(call(WEB), "model", "m")


def test_an_app_whose_tokens_were_never_given_is_refused() -> None:
    """Whether at the start or with a reload; what was obeyed before stays."""
    admission = ready(app(tokens_env="T"))
    for change in (admission.check, admission.configure):
        with pytest.raises(SurroundingsError, match="NEW, which is not set"):
            change(app(tokens_env="NEW"))
    with pytest.raises(Unauthorized):
        admission.enter(call(), "endpoint", "score")


def test_figures_and_health_pass_the_bounds() -> None:
    """They are what one looks at in an overload."""
    admission = ready(app(tokens_env="T", rate_per_s=1, max_concurrent=1))
    admission.enter(call(WEB), "endpoint", "score")
    for _ in range(3):
        admission.enter(call(WEB), "metrics", always=True)
        admission.enter(call(), "open")


def test_another_app_is_obeyed_at_once_and_keeps_the_count() -> None:
    """Tokens and bounds change with a reload; requests in progress still count, and leave what they entered."""
    admission = ready(app({"score": 1}, tokens_env="T"))
    inside = call(WEB)
    admission.enter(inside, "endpoint", "score")
    admission.configure(app({"score": 2}, tokens_env="WEB_ALONE", tokens={"web": Token(name="web", models=())}))
    with pytest.raises(Unauthorized):
        admission.enter(call(CI), "endpoint", "score")
    with pytest.raises(Forbidden):
        admission.enter(call(WEB), "model", "m")
    admission.enter(call(WEB), "endpoint", "score")
    with pytest.raises(QueueFull):
        admission.enter(call(WEB), "endpoint", "score")
    admission.leave(inside)
    admission.enter(call(WEB), "endpoint", "score")


@given(st.lists(st.tuples(st.sampled_from([WEB, CI, "", "nobody-0123456789ab"]), st.booleans()), max_size=60))
def test_leaving_undoes_entering_whoever_was_refused_why(comings) -> None:
    """After any comings and goings, refused ones included, the bounds are as they were at first."""
    what = app(
        {"score": 3}, tokens_env="T", max_concurrent=4, rate_per_s=20, tokens={"ci": Token(name="ci", max_concurrent=1)}
    )
    admission = ready(what, FakeClock(1000.0))
    inside: list[Call] = []
    admitted = 0
    for secret, stays in comings:
        one = call(secret)
        try:
            admission.enter(one, "endpoint", "score")
            admitted += 1
        except RequestError:
            assert one.held == ()
        inside.append(one)
        if not stays:
            admission.leave(inside.pop(0))
        assert sum(bool(one.held) for one in inside) <= 3
    for one in inside:
        admission.leave(one)
        admission.leave(one)
    assert admitted <= 20
    assert [gate.inside for gate in admission._gates.values()] == [0, 0, 0]
