"""A replica's life as the edge sees it."""

import asyncio

from modelapp.lifecycle import Lifecycle


def test_the_states_in_their_order() -> None:
    """Refusing until ready, answering in the lame-duck time, refusing again after it."""
    life = Lifecycle()
    assert (life.state, life.refusing, life.closing) == ("starting", True, False)
    assert life.not_ready().message == "the app is starting"
    life.ready()
    assert (life.state, life.refusing, life.closing, life.reason) == ("ready", False, False, "")
    life.drain()
    assert (life.state, life.refusing, life.closing) == ("draining", False, True)
    life.refuse()
    assert life.refusing
    assert life.not_ready().retry_after_s == 1
    life.stop()
    assert (life.state, life.refusing) == ("stopped", True)


def test_waiting_for_the_last_request() -> None:
    """At once where none is in hand; until the last has left; not beyond the bound."""

    async def live() -> list[bool]:
        life = Lifecycle()
        outcomes = [await life.wait_idle(0)]
        life.enter()
        life.enter()
        outcomes.append(await life.wait_idle(0.01))
        waiting = asyncio.create_task(life.wait_idle(10))
        await asyncio.sleep(0)
        life.leave()
        await asyncio.sleep(0)
        outcomes.append(waiting.done())
        life.leave()
        outcomes.append(await waiting)
        return outcomes

    assert asyncio.run(live()) == [True, False, False, True]
