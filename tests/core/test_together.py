"""Tasks of one request: one error comes of them, the request's own where there is one."""

import asyncio

import pytest

from modelapp.errors import InvalidInput
from modelapp.together import Together


async def fail(error: BaseException) -> None:
    """Raise it a turn later, so that others have begun."""
    await asyncio.sleep(0)
    raise error


def test_all_that_go_well_are_waited_for() -> None:
    """Their results are there after the block."""

    async def work() -> list[int]:
        async with Together() as group:
            tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
        return [task.result() for task in tasks]

    assert asyncio.run(work()) == [0, 1, 2]


def test_the_first_error_ends_the_others() -> None:
    """It is raised as it is, and whoever still works is cancelled."""
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def work() -> None:
        async with Together() as group:
            group.create_task(wait())
            group.create_task(fail(ValueError("first")))

    with pytest.raises(ValueError, match="first"):
        asyncio.run(work())
    assert ended == ["cancelled"]


def test_an_outcome_of_the_request_goes_before_other_errors() -> None:
    """Which tells its client more than what else broke at the same time."""

    async def work() -> None:
        async with Together() as group:
            group.create_task(fail(ValueError("other")))
            group.create_task(fail(InvalidInput("the request's")))

    with pytest.raises(InvalidInput, match="the request's"):
        asyncio.run(work())
