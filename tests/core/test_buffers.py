"""Memory that batches use again, and never while anything else still looks at it."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

from modelapp.buffers import Buffers

MB = 1 << 20
FLOAT = np.dtype(np.float32)


def test_next_batch_takes_the_same_place():
    """Also a smaller one, and one of another dtype or shape."""
    buffers = Buffers()
    place = buffers.take("x", (2, MB), FLOAT).ctypes.data

    assert buffers.take("x", (1, MB), FLOAT).ctypes.data == place
    again = buffers.take("x", (MB, 1), np.dtype(np.int64))
    assert (again.ctypes.data, again.shape, again.dtype) == (place, (MB, 1), np.int64)


def test_nothing_is_allocated_the_second_time():
    """Batches of 16 MB cost their memory once."""
    buffers = Buffers()
    buffers.take("x", (16, MB), np.dtype(np.uint8))
    tracemalloc.start()
    for _ in range(5):
        buffers.take("x", (16, MB), np.dtype(np.uint8)).fill(1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 10_000


@pytest.mark.parametrize(
    "keep",
    [lambda array: array, lambda array: array[:1, 5:], lambda array: memoryview(array), lambda array: array.T.view()],
    ids=["array", "view", "memoryview", "view of a view"],
)
def test_place_that_somebody_looks_at_is_left_alone(keep):
    """An output that is a view of the batch, or an input that the model has kept, holds its memory."""
    buffers = Buffers()
    first = buffers.take("x", (4, MB), FLOAT)
    first.fill(1)
    places = {first.ctypes.data}
    kept = keep(first)
    del first

    second = buffers.take("x", (4, MB), FLOAT)
    second.fill(2)
    assert not np.shares_memory(np.asarray(kept), second)
    assert (np.asarray(kept) == 1).all()

    places.add(second.ctypes.data)
    del kept, second
    gc.collect()
    assert buffers.take("x", (4, MB), FLOAT).ctypes.data in places


def test_names_do_not_share():
    """A batch of several inputs needs a place for each."""
    buffers = Buffers()
    assert not np.shares_memory(buffers.take("x", (MB,), FLOAT), buffers.take("y", (MB,), FLOAT))


def test_growing_is_by_powers_of_two():
    """Slightly larger batches do not allocate each time."""
    buffers = Buffers()
    place = buffers.take("x", (5 * MB,), np.dtype(np.uint8)).ctypes.data

    assert buffers.take("x", (8 * MB,), np.dtype(np.uint8)).ctypes.data == place


def test_far_too_large_place_is_given_back():
    """One huge batch is not paid for ever."""
    buffers = Buffers()
    buffers.take("x", (64 * MB,), np.dtype(np.uint8))
    sizes = []
    for _ in range(200):
        array = buffers.take("x", (MB,), np.dtype(np.uint8))
        sizes.append(array.base.nbytes)
        del array

    assert sizes[0] == 64 * MB
    assert sizes[-1] == MB


def test_second_place_is_given_back_when_one_is_enough():
    """Two runs at a time need two places, and only then."""
    buffers = Buffers()
    first, second = (buffers.take("x", (8 * MB,), np.dtype(np.uint8)) for _ in range(2))
    assert not np.shares_memory(first, second)
    seen = weakref.ref(second.base), weakref.ref(first.base)
    del first, second
    for _ in range(200):
        buffers.take("x", (8 * MB,), np.dtype(np.uint8))

    assert sum(one() is not None for one in seen) == 1


def test_places_that_are_kept_for_ever_are_forgotten():
    """A model that hoards its inputs keeps their memory, not this."""
    buffers = Buffers()
    hoard = [buffers.take("x", (MB,), np.dtype(np.uint8)) for _ in range(20)]

    assert len({array.ctypes.data for array in hoard}) == 20
    assert len(buffers._blocks["x"]) <= 4


def test_texts_and_small_arrays_are_not_kept():
    """References would live on, and small ones are not worth it."""
    buffers = Buffers()
    texts = buffers.take("s", (MB,), np.dtype(object))
    texts[:] = "text"
    small = buffers.take("x", (10,), FLOAT)

    assert texts.base is None
    assert small.base is None
