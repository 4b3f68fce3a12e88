"""Caches: memory that the library writes to in place, is copied by tokens, and is given back by rows."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from modelapp_onnx.caches import Caches
from modelapp_onnx.generationfacts import GenerationFacts

FACTS = GenerationFacts(layers=2, kv_heads=2, head_size=16, vocabulary=10, context_tokens=0, chunks=1)
CAPACITY = 200


def resident_kb() -> int:
    """Memory of this process that is really there."""
    with Path("/proc/self/smaps_rollup").open() as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:"))


def test_views_share_the_memory() -> None:
    """What is written through a view of one row is seen in a view of a range, of every layer."""
    caches = Caches(FACTS, rows=4, capacity=CAPACITY)
    for keys, values in caches.view(2, 3):
        keys.numpy()[:] = 1.0
        values.numpy()[:] = 2.0
    for keys, values in caches.view(0, 4):
        assert keys.numpy().shape == (4, FACTS.kv_heads, CAPACITY, FACTS.head_size)
        np.testing.assert_array_equal(keys.numpy()[:, 0, 0, 0], [0, 0, 1, 0])
        np.testing.assert_array_equal(values.numpy()[:, 1, -1, -1], [0, 0, 2, 0])


def test_copies_the_first_tokens_only() -> None:
    """A row gets another's first tokens, and keeps its own behind them."""
    caches = Caches(FACTS, rows=3, capacity=CAPACITY)
    for keys, values in caches.view(0, 1):
        keys.numpy()[:] = values.numpy()[:] = 5.0
    caches.copy(0, 2, 7)
    for pair in caches.view(2, 3):
        for array in pair:
            assert (array.numpy()[0, :, :7] == 5.0).all()
            assert (array.numpy()[0, :, 7:] == 0.0).all()


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system takes no memory back from a mapping")
def test_memory_is_taken_by_use_and_given_back() -> None:
    """Rows cost nothing until they are written to, and a freed row is memory of the system again; others stay."""
    facts = GenerationFacts(layers=2, kv_heads=4, head_size=64, vocabulary=10, context_tokens=0, chunks=1)
    before_kb = resident_kb()
    caches = Caches(facts, rows=16, capacity=4001)  # 16 MB a row
    row_kb = facts.token_bytes * 4001 / 1000
    views = [caches.view(row, row + 1) for row in (0, 1)]
    assert resident_kb() - before_kb < row_kb
    for view in views:
        for pair in view:
            for array in pair:
                array.numpy()[:] = 3.0
    full_kb = resident_kb()
    assert full_kb - before_kb > 1.5 * row_kb
    caches.free(0)
    assert full_kb - resident_kb() > 0.8 * row_kb
    assert all((array.numpy() == 3.0).all() for pair in views[1] for array in pair)
