"""No hook without a test that uses it, none without its documentation, arguments included."""

import pytest

from modelapp.hookcheck import HOOKS, signature_text


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_used_by_a_test(hook, root):
    """A test that implements it, outside this one and outside the check of hooks in general."""
    users = [
        file
        for file in (root / "tests").rglob("*.py")
        if f"def {hook}(" in file.read_text() and file.name != "test_hookcheck.py"
    ]
    assert users


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_exact_arguments(hook, root):
    """docs/hooks.md has a heading of its own for each."""
    assert f"## `{signature_text(hook)}`\n" in (root / "docs" / "hooks.md").read_text()


def test_the_page_documents_no_hook_that_is_not(root):
    """And in the order of an app's life."""
    headings = [
        line for line in (root / "docs" / "hooks.md").read_text().splitlines() if line.startswith("## `modelapp_")
    ]
    assert headings == [f"## `{signature_text(hook)}`" for hook in HOOKS]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_when_it_is_called_and_since_when(hook):
    """Its docstring is what an author's editor shows."""
    text = HOOKS[hook].__doc__ or ""
    assert ".. versionadded:: " in text
    assert len(text.splitlines()) >= 3
