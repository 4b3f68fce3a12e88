"""Media inputs that come as URLs: found in a request's document, and put there as the bytes behind them."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from modelapp.addresses import AllowList
from modelapp.app import Field
from modelapp.errors import InvalidInput
from modelapp.fetching import Budget, fetch
from modelapp.fieldtype import MEDIA, is_url
from modelapp.masking import hides
from modelapp.mismatch import Mismatch

MAX_URLS = 32
"""URLs in one request: each makes this server call another."""
_THREADS = 16
_T = TypeVar("_T")


def takes_urls(fields: Mapping[str, Field]) -> bool:
    """Whether any of them, at any depth, may be a URL."""
    return any(_allows(field) or takes_urls(field.fields) for field in fields.values())


def fetch_urls(fields: Mapping[str, Field], document: Any, budget: Budget) -> Any:
    """The document with bytes in the place of every URL that stands where one may.

    Blocks. Raises InvalidInput naming the field, and DeadlineExceeded.
    """
    seen = _Seen(budget)
    try:
        return _object(fields, document, seen)
    except Mismatch as mismatch:
        raise InvalidInput(str(mismatch), field=mismatch.path) from None


async def beside(work: Callable[[], _T]) -> _T:
    """Run `work` on a thread of its own kind: a slow host keeps no body from being read."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), work)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="modelapp-fetching")


class _Seen:
    """What one request has had fetched."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.urls = 0

    def fetch(self, url: str, field: Field) -> bytes:
        self.urls += 1
        if self.urls > MAX_URLS:
            raise Mismatch(f"is one URL more than the {MAX_URLS} that a request may have")
        self.budget.remaining_s()
        return fetch(url, AllowList.of(field.allow_hosts), self.budget)


def _allows(field: Field) -> bool:
    return bool(field.allow_hosts) and field.type.innermost in MEDIA


def _object(fields: Mapping[str, Field], value: Any, seen: _Seen) -> Any:
    if type(value) is not dict:
        return value
    filled = dict(value)
    for name, field in fields.items():
        if name in filled and (_allows(field) or takes_urls(field.fields)):
            try:
                filled[name] = _value(field, filled[name], seen)
            except Mismatch as mismatch:
                raise (mismatch.hidden() if hides({name: field}) else mismatch).below(name) from None
    return filled


def _value(field: Field, value: Any, seen: _Seen) -> Any:
    if type(value) is list:
        items: list[Any] = []
        for index, item in enumerate(value):
            try:
                items.append(_value(field, item, seen))
            except Mismatch as mismatch:
                raise mismatch.below(f"[{index}]") from None
        return items
    if field.fields:
        return _object(field.fields, value, seen)
    return seen.fetch(value, field) if is_url(value) else value
