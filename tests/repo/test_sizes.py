"""Small is measured: the size of each module and of the functions, printed for whoever wants to know (pytest -s)."""

MODULE_MAX = 320
FUNCTION_P90_MAX = 30


def test_no_module_is_longer_than_a_noun_deserves(modules, root):
    """One noun a file."""
    sizes = {file.relative_to(root).as_posix(): len(file.read_text().splitlines()) for file in modules}
    for name, lines in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{lines:5} {name}")
    print(f"{sum(sizes.values()):5} all")
    assert {name: lines for name, lines in sizes.items() if lines > MODULE_MAX} == {}


def test_functions_are_short(trees, functions):
    """Nine in ten have at most thirty lines."""
    lengths = sorted(node.end_lineno - node.lineno + 1 for tree in trees.values() for node in functions(tree))
    median, p90 = lengths[len(lengths) // 2], lengths[len(lengths) * 9 // 10]
    print(f"functions: {len(lengths)}, median {median}, p90 {p90}, longest {lengths[-1]} lines")
    assert p90 <= FUNCTION_P90_MAX
