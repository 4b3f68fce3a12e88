"""Tasks that belong to one request: where one fails the others end, and its error is the request's."""

import asyncio
from types import TracebackType

from modelapp.errors import RequestError


class Together(asyncio.TaskGroup):
    """A group of tasks that raises one error, not a group of them: the first that is a request's outcome, else the
    first."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all, and raise what became of them."""
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup as errors:
            told = next((one for one in errors.exceptions if isinstance(one, RequestError)), None)
            raise (told or errors.exceptions[0]) from None
