"""The command line's words: every verb with its options, and which module runs it."""

import argparse
import importlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from modelapp.cli.console import Console

EPILOG = """exit status:
  0 it holds   1 a test failed   2 bad command line   3 app.toml is invalid   4 inconclusive
  5 the surroundings are at fault (a model, a plugin, the port)   6 app.lock says otherwise   130 interrupted"""

FILE = "app.toml"
PROFILE_VARIABLE = "MODELAPP_PROFILE"
TEMPLATES = ("image", "tensor", "text", "pipeline", "batch")
"""The words of `init --template`, the default first; the templates themselves are scaffold's."""
SHELLS = ("bash", "zsh", "fish")
FORMATS = ("onnx",)
PRECISIONS = ("int8",)
"""The words of `export --to` and `--precision`."""
NAMES = ("endpoints", "inputs", "jobs", "keys", "models", "profiles", "tags", "tests")
Verb = Callable[[argparse.Namespace, Console], int]


class _Parser(argparse.ArgumentParser):
    """Reports a bad command line as UsageError, so that it is told like every other error."""

    def error(self, message: str) -> NoReturn:
        from modelapp.errors import UsageError
        from modelapp.suggestions import did_you_mean

        wrong, known = "", list[str]()
        if found := _CHOICE.search(message):
            wrong, known = found[1], re.findall(r"'([^']+)'", found[2])
        elif message.startswith(_UNRECOGNIZED):
            wrong, known = message.removeprefix(_UNRECOGNIZED).split()[0], sorted(_options(self))
        raise UsageError(message, help=did_you_mean(wrong, known, otherwise=f"{self.prog} --help"))


_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")
_UNRECOGNIZED = "unrecognized arguments: "


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a command line, those of its verbs included."""
    found: set[str] = set()
    for action in parser._actions:
        found.update(option for option in action.option_strings if option.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                found |= _options(verb)
    return found


def parse(argv: Sequence[str], console: Console) -> argparse.Namespace:
    """Read the command line and set up `console`.

    Raises UsageError; SystemExit after --help and --version.
    """
    console.json = "--json" in argv  # so that a bad command line is told in JSON too
    options = build().parse_args(argv)
    options.overrides = [*(options.overrides or []), *(getattr(options, "more_overrides", None) or [])]
    console.json = options.json or getattr(options, "format", "") == "json"
    console.no_color = options.no_color
    console.verbosity = -1 if options.quiet else options.verbose + getattr(options, "more_verbose", 0)
    return options


def verb(name: str) -> Verb:
    """What runs a verb; its module is imported only now."""
    return cast("Verb", importlib.import_module(f"modelapp.cli.{name}").run)


def build() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="modelapp",
        description="Serves and proves the model app that app.toml describes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    _add_common(parser, top=True)
    verbs = parser.add_subparsers(dest="command", metavar="VERB", required=True, parser_class=_Parser)
    for name, does, add in (
        ("init", "write a new app, which works as it is", _add_init),
        ("check", "say what is wrong with app.toml, without loading a model", _add_check),
        ("run", "serve the app in the foreground", _add_run),
        ("predict", "call an endpoint once", _add_predict),
        ("test", "run the [[tests]] of app.toml", _add_test),
        ("export", "write a model for another runtime, and prove that it does the same", _add_export),
        ("dump", "print what every thread of the running app is doing", _add_nothing),
        ("lock", "write app.lock: the digests and versions of what the app is made of", _add_locked),
        ("schema", "print the JSON Schema of app.toml, for editors", _add_schema),
        ("alerts", "print Prometheus alert rules for what [guarantees] promises", _add_alerts),
        ("upgrade", "show what would raise app.toml to the newest format", _add_upgrade),
        ("plugins", "list the installed plugins and what is missing to use them", _add_nothing),
        ("completion", "print the script by which a shell completes command lines", _add_completion),
    ):
        verb = verbs.add_parser(name, help=does, description=does[0].upper() + does[1:] + ".", allow_abbrev=False)
        add(verb)
        _add_common(verb, top=False)
    hidden = verbs.add_parser("complete", allow_abbrev=False)  # without help it is not listed: scripts call it
    hidden.add_argument("kind", choices=NAMES)
    hidden.add_argument("words", nargs="*", metavar="WORD", help="the command line that is being completed")
    _add_common(hidden, top=False)
    return parser


def _add_common(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """The options that may stand before the verb or after it; those after it must not undo those before."""

    def default(value: Any) -> Any:
        return value if top else argparse.SUPPRESS

    more = "" if top else "more_"
    group = parser.add_argument_group("common options")
    group.add_argument(
        "-C", dest="directory", metavar="DIR", type=Path, default=default(Path()), help="the folder of app.toml"
    )
    group.add_argument(
        "--profile",
        metavar="P",
        default=default(os.environ.get(PROFILE_VARIABLE, "")),
        help=f"lay [profiles.P] over the rest of app.toml; default: ${PROFILE_VARIABLE}",
    )
    group.add_argument(
        "--set",
        dest=f"{more}overrides",
        metavar="K=V",
        action="append",
        default=default(None),
        help="override one key of app.toml, as in server.port=8001; may be repeated",
    )
    group.add_argument(
        "--json", action="store_true", default=default(False), help="print the result as one JSON document"
    )
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", default=default(False), help="leave out notes")
    loudness.add_argument(
        "-v",
        "--verbose",
        dest=f"{more}verbose",
        action="count",
        default=default(0) if top else 0,
        help="say more; -vv adds tracebacks to errors",
    )
    group.add_argument("--no-color", action="store_true", default=default(False), help="no colours")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="take changed files over while serving, and run the tests they touch",
    )
    _add_locked(parser)


def _add_nothing(_: argparse.ArgumentParser) -> None:
    """For verbs without options of their own."""


def _add_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="an empty folder, or one that is made; default: the current one. It gives the app its name",
    )
    parser.add_argument(
        "--template", choices=TEMPLATES, default=TEMPLATES[0], help=f"what the app is about; default: {TEMPLATES[0]}"
    )


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS)


def _add_locked(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--locked",
        action="store_true",
        help="end with status 6 where app.lock says otherwise, and write nothing"
        + ("" if parser.prog.endswith(" lock") else "; default where CI is set and there is an app.lock"),
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("text", "json", "github"), default="text", help="how the problems are printed"
    )
    parser.add_argument(
        "--resolved", action="store_true", help="print the file as it is with profile and overrides, and where from"
    )


def _add_schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="write app.schema.json beside app.toml")


def _add_alerts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="write alerts.rules.yml beside app.toml")


def _add_upgrade(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="change app.toml")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="the model's name in app.toml")
    parser.add_argument("--to", choices=FORMATS, default=FORMATS[0], help=f"the format; default: {FORMATS[0]}")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="the folder to write; default: models/MODEL-FORMAT beside app.toml"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="", help="also make it less precise, and show what the tests lose"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace what was exported before, and keep a less precise model by which tests fail",
    )


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.usage = "modelapp predict [ENDPOINT] [NAME=VALUE | NAME=@FILE ...] [options]"
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME=VALUE",
        help="the endpoint, where the app has several, then its inputs; NAME=@FILE takes the value from a file",
    )
    _add_locked(parser)
    parser.add_argument("--save-as", metavar="TEST", default="", help="also add the call to app.toml, as this test")


def _add_test(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="the tests to run; default: all")
    parser.add_argument("--tag", metavar="T", action="append", default=[], help="run the tests with this tag")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="also write the outcomes as JUnit XML")
    _add_locked(parser)
    group = parser.add_argument_group("options that change app.toml")
    group.add_argument("--record", action="store_true", help="give tests that expect nothing what comes out now")
    group.add_argument(
        "--accept", metavar="NAME", action="append", default=[], help="make this failing test expect what comes out now"
    )
    group.add_argument("--accept-all", action="store_true", help="the same for every failing test that is run")
    group.add_argument("--save-failures", action="store_true", help="make a test of its own of each failed case")


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"modelapp {version('modelapp')}")
        parser.exit()
