"""`modelapp completion SHELL`: a script by which bash, zsh or fish completes the command line."""

import argparse
from collections.abc import Iterator, Mapping

import attrs

from modelapp.cli.console import Console
from modelapp.cli.parser import build

FOLDERS, FILES, ANYTHING = "folders", "files", "anything"
"""Values that a shell offers by itself, and those that it cannot know."""
_BY_NAME: Mapping[str, str] = {
    "accept": "tests",
    "model": "models",
    "names": "tests",
    "overrides": "keys",
    "profile": "profiles",
    "tag": "tags",
    "words": "inputs",
}
_BY_METAVAR: Mapping[str, str] = {"DIR": FOLDERS, "FILE": FILES}


@attrs.frozen
class Argument:
    """An option, or the words of a verb where it has no `flags`.

    `takes`: "" for no value, a word of this module, or a kind of name that `modelapp complete` knows. `again`: it may
    be repeated.
    """

    flags: tuple[str, ...]
    takes: str
    choices: tuple[str, ...]
    help: str
    again: bool


@attrs.frozen
class Verb:
    """A verb, its options, the common ones included, and its words."""

    name: str
    help: str
    options: tuple[Argument, ...]
    words: Argument | None


@attrs.frozen
class CommandLine:
    """All that may be written: the options before a verb, and the verbs."""

    options: tuple[Argument, ...]
    verbs: tuple[Verb, ...]


def run(options: argparse.Namespace, console: Console) -> int:
    """Print the script."""
    from modelapp.cli.shells import SCRIPTS

    script = SCRIPTS[options.shell](command_line())
    if console.json:
        console.document({"shell": options.shell, "script": script})
    console.result(script.rstrip("\n"))
    return 0


def command_line() -> CommandLine:
    """The command line as its parser has it; verbs and options without a help text are hidden ones."""
    parser = build()
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return CommandLine(
        options=tuple(_options(parser)),
        verbs=tuple(
            Verb(
                name=listed.dest,
                help=listed.help or "",
                options=tuple(_options(verbs.choices[listed.dest])),
                words=next(_words(verbs.choices[listed.dest]), None),
            )
            for listed in verbs._choices_actions
        ),
    )


def _options(parser: argparse.ArgumentParser) -> Iterator[Argument]:
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            yield _argument(action, takes=action.nargs != 0)


def _words(parser: argparse.ArgumentParser) -> Iterator[Argument]:
    return (_argument(action, takes=True) for action in parser._actions if not action.option_strings)


def _argument(action: argparse.Action, *, takes: bool) -> Argument:
    name, metavar = action.dest.removeprefix("more_"), str(action.metavar)
    known = _BY_NAME.get(name) or _BY_METAVAR.get(metavar) or ANYTHING
    kinds = (argparse._AppendAction, argparse._CountAction)
    return Argument(
        flags=tuple(action.option_strings),
        takes=known if takes else "",
        choices=tuple(str(choice) for choice in action.choices or ()),
        help=action.help or "",
        again=isinstance(action, kinds) or action.nargs in ("*", "+", argparse.REMAINDER),
    )
