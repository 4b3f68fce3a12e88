"""One step on an engine: slots freed and given, tokens fed, the next ones chosen. Runs on the model's own thread."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from modelapp.batching import OVER
from modelapp.decoding import Decoding
from modelapp.errors import OutOfMemory
from modelapp.generating import Feed, Generates
from modelapp.isolation import run_isolated
from modelapp.sampling import Chosen
from modelapp.steps import Step


def run_step(engine: Generates, step: Step, *, rerun: bool = True, clock: Callable[[], float] = monotonic) -> None:
    """Run `step` and write its outcomes into it; raises nothing but what `engine.release` does.

    `rerun`: a step that fails is split and run again, so that only the offender fails.
    """
    while step.release:
        engine.release(step.release.pop(0))
    joined = _admit(engine, step, clock)
    writing = [one for one in step.writing if one.state is not OVER]
    reading = [one for one in (*step.reading, *joined) if one.state is not OVER]
    shares = fair_shares([len(one.pending) for one in reading], step.budget)
    fed = dict.fromkeys(writing, 1) | {one: share for one, share in zip(reading, shares, strict=True) if share}
    feeds = _feeds(fed)
    step.fed = {one: fed[one] for one in feeds}
    if not feeds:
        return
    members = list(feeds)
    started_s = clock()

    def attempt(part: Sequence[Decoding]) -> Sequence[Any]:
        return _logits(engine, [feeds[one] for one in part])

    isolated = run_isolated(members, attempt, split=rerun)
    step.infer_s = clock() - started_s
    step.extra_runs = isolated.extra_runs
    for one, logits in zip(members, isolated.outcomes, strict=True):
        step.outcomes[one] = logits if isinstance(logits, BaseException) else _chosen(one, logits, step.fed[one])


def _admit(engine: Generates, step: Step, clock: Callable[[], float]) -> list[Decoding]:
    """Those that got a slot, in their order, up to the first for whom there is no room."""
    joined: list[Decoding] = []
    for one in step.joining:
        if one.state is OVER:
            continue
        try:
            if not engine.has_room(one.room):
                if not (step.writing or step.reading or joined):
                    step.outcomes[one] = OutOfMemory(f"{one.room} tokens do not fit into memory that nobody else uses")
                break
            one.slot, feed = engine.admit(one.request.prompt, one.room)
            one.pending.extend(feed)
        except BaseException as error:  # of this request alone: its prompt may be what the engine stumbles over
            step.outcomes[one] = error
            continue
        one.started_s = clock()
        joined.append(one)
    return joined


def _feeds(fed: Mapping[Decoding, int]) -> dict[Decoding, Feed]:
    """What each is fed. Whoever leaves meanwhile loses its slot to the next step, not to this one."""
    feeds = {}
    for one, tokens in fed.items():
        slot = one.slot  # read once: the loop's thread may take it at any moment
        if slot is not None:
            feeds[one] = one.feed(slot, tokens)
    return feeds


def _logits(engine: Generates, feeds: Sequence[Feed]) -> Sequence[Any]:
    """For each feed the logits after it, None where none were wanted."""
    rows = iter(engine.step(feeds))
    return [next(rows) if feed.wanted else None for feed in feeds]


def _chosen(one: Decoding, logits: Any, tokens: int) -> Chosen | Exception | None:
    try:
        one.fed(tokens)
        return None if logits is None else one.choose(logits)
    except Exception as error:  # logits of another size than was promised, too: the mates' are judged by themselves
        return error


def fair_shares(wanted: Sequence[int], budget: int) -> list[int]:
    """How `budget` is shared out: nobody gets more than wanted, and what one leaves the others have.

    So a short prompt is read at once however long the prompts beside it are. Where there is not one for each the first
    ones get it.
    """
    shares = [0] * len(wanted)
    left = budget
    open_ = sorted(range(min(len(wanted), budget)), key=lambda at: wanted[at])
    for position, at in enumerate(open_):
        shares[at] = min(wanted[at], left // (len(open_) - position))
        left -= shares[at]
    return shares
