"""Keys of a model's batching that do not go together."""

# Name, what is changed into what, code, line, column, marked characters, message, help, and, where no edit mends it,
# the command that does, "" for none.
MISTAKES = [
    (
        "cost without its bound",
        "max_wait_ms = 15\n",
        'cost = "tokens"\n',
        "MA069",
        9,
        8,
        '"tokens"',
        '"cost" has no effect without "max_batch_cost"',
        "write max_batch_cost, the most tokens of one run, or leave cost out",
    ),
    (
        "bound below a row",
        "max_wait_ms = 15\n",
        "max_batch_cost = 0.5\n",
        "MA069",
        9,
        18,
        "0.5",
        'no row can ever run in model "story"',
        "write max_batch_cost = 1",
    ),
    (
        "buckets of nothing",
        "max_wait_ms = 15\n",
        "buckets = [16, 64]\n",
        "MA069",
        9,
        11,
        "[16, 64]",
        '"buckets" has no effect without "pad"',
        "name the inputs: pad = { INPUT = { value = 0 } }, or leave buckets out",
    ),
    (
        "empty bucket",
        "max_wait_ms = 15\n",
        "pad = { ids = {} }\nbuckets = [16, 0]\n",
        "MA069",
        10,
        16,
        "0",
        "a bucket that holds nothing",
        "",
    ),
    (
        "bucket above the bound",
        "max_wait_ms = 15\n",
        'cost = "padded_tokens"\nmax_batch_cost = 100\npad = { ids = {} }\nbuckets = [[3, 32], [3, 64]]\n',
        "MA069",
        12,
        21,
        "[3, 64]",
        "no row of this bucket can ever run: 192 tokens",
        "leave it out, or write max_batch_cost = 192",
    ),
]


def test_the_mistake_is_told_in_its_place(dungeon, mistake):
    """Code, line, column, marked characters, words and advice."""
    dungeon.expect_told(mistake)


def test_the_edit_makes_the_file_valid(dungeon, mistake):
    """What is offered mends it."""
    dungeon.expect_mended(mistake)


def test_what_goes_together_is_valid(dungeon):
    """Lengths and shapes, in any order, with a cost that they fit."""
    keys = 'cost = "tokens"\nmax_batch_cost = 4096\npad = { ids = { value = 0 } }\nbuckets = [512, 16, [8, 8]]\n'
    assert dungeon.everything(dungeon.text.replace("max_wait_ms = 15\n", keys)) == ()
