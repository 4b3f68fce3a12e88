"""The scripts that make bash, zsh and fish complete the command line.

What the parser knows is written into those of scripts/; what only app.toml knows they ask `modelapp complete` for.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from modelapp.cli.completion import ANYTHING, FILES, FOLDERS, Argument, CommandLine, Verb


def bash(line: CommandLine) -> str:
    """For bash."""
    kinds = [*_bash_kinds("*", line.options)]
    verbs = [*_bash_verb("", line.options, f"choices {' '.join(verb.name for verb in line.verbs)}", again=True)]
    for verb in line.verbs:
        kinds = [*_bash_kinds(verb.name, _own(verb, line)), *kinds]
        words = verb.words
        verbs += _bash_verb(verb.name, verb.options, _kind(words) if words else "", again=bool(words and words.again))
    return _script("bash").replace("@KINDS@", "\n".join(kinds)).replace("@VERBS@", "\n".join(verbs))


def _bash_kinds(verb: str, options: tuple[Argument, ...]) -> Iterator[str]:
    for option in options:
        if option.takes:
            yield f"    {' | '.join(f'{verb}/{flag}' for flag in option.flags)}) kind={shlex.quote(_kind(option))} ;;"


def _bash_verb(verb: str, options: tuple[Argument, ...], words: str, *, again: bool) -> Iterator[str]:
    flags = " ".join(flag for option in options for flag in option.flags)
    yield f"    {verb or chr(39) * 2})"
    yield "      case $current in"
    if words == "inputs":
        yield "        *=@*) lead=${current%%=@*}=@ && _modelapp_offer files ;;"
    yield f"        -*) _modelapp_offer 'choices {flags}' ;;"
    if words:
        once = "" if again else "[[ ${#given[@]} -eq 0 ]] && "
        yield f"        *) {once}_modelapp_offer {shlex.quote(words)} ;;"
    yield "      esac ;;"


def zsh(line: CommandLine) -> str:
    """For zsh with its completion system (compinit)."""
    verbs = [f"    {_single(f'{verb.name}:{verb.help}')}" for verb in line.verbs]
    cases = []
    for verb in line.verbs:
        specs = [*_zsh_options(verb.options), *_zsh_words(verb.words)]
        cases += [
            f"    {verb.name})",
            "      _arguments \\",
            " \\\n".join(f"        {spec}" for spec in specs),
            "      ;;",
        ]
    common = [f"    {spec} \\" for spec in _zsh_options(line.options)]
    filled = _script("zsh").replace("@VERBS@", "\n".join(verbs)).replace("@COMMON@", "\n".join(common))
    return filled.replace("@CASES@", "\n".join(cases))


def _zsh_options(options: tuple[Argument, ...]) -> Iterator[str]:
    for option in options:
        told = option.help.translate({ord(mark): f"\\{mark}" for mark in "[]:\\"})
        others = " ".join(option.flags)
        for flag in option.flags:
            lead = "*" if option.again else f"({others})"
            value = f"{'=' if flag.startswith('--') else ''}[{told}]:value:{_zsh_action(option)}"
            yield _single(lead + flag + (value if option.takes else f"[{told}]"))


def _zsh_words(words: Argument | None) -> Iterator[str]:
    if words:
        yield _single(f"{'*' if words.again else '1'}:word:{_zsh_action(words)}")


def _zsh_action(argument: Argument) -> str:
    kind = _kind(argument)
    plain = {ANYTHING: " ", FOLDERS: "_files -/", FILES: "_files"}
    if argument.choices:
        return f"({' '.join(argument.choices)})"
    return plain.get(kind, f"_modelapp_offer {kind}")


def fish(line: CommandLine) -> str:
    """For fish."""
    every = [*line.options, *(option for verb in line.verbs for option in verb.options)]
    valued = dict.fromkeys(flag for option in every if option.takes for flag in option.flags)
    lines = [_script("fish").replace("@VALUED@", " ".join(valued)).rstrip()]
    for verb in line.verbs:
        lines.append(f"complete -c modelapp -n '__modelapp_at \"\"' -a {verb.name} -d {_fish_quoted(verb.help)}")
    lines += [_fish_option('__modelapp_at ""', option) for option in line.options]
    for verb in line.verbs:
        at = f"__modelapp_at {verb.name}"
        lines += [_fish_option(at, option) for option in verb.options]
        if verb.words:
            at = at if verb.words.again else f"__modelapp_first {verb.name}"
            lines.append(f"complete -c modelapp -n {_fish_quoted(at)} {_fish_value(verb.words)}".rstrip())
    return "\n".join([*lines, ""])


def _fish_option(at: str, option: Argument) -> str:
    flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
    value = f" {'-r' if option.takes == FILES else '-x'} {_fish_value(option)}".rstrip() if option.takes else ""
    return f"complete -c modelapp -n {_fish_quoted(at)} {flags} -d {_fish_quoted(option.help)}{value}"


def _fish_value(argument: Argument) -> str:
    if argument.choices:
        return f"-a {_fish_quoted(' '.join(argument.choices))}"
    kind = _kind(argument)
    plain = {ANYTHING: "", FILES: "-F", FOLDERS: "-a '(__fish_complete_directories)'"}
    return plain.get(kind, f"-a '(__modelapp_offer {kind})'")


def _script(shell: str) -> str:
    return (Path(__file__).parent / "scripts" / f"completion.{shell}").read_text(encoding="utf-8")


def _own(verb: Verb, line: CommandLine) -> tuple[Argument, ...]:
    """The options of a verb that are not common ones."""
    common = {option.flags for option in line.options}
    return tuple(option for option in verb.options if option.flags not in common)


def _kind(argument: Argument) -> str:
    return f"choices {' '.join(argument.choices)}" if argument.choices else argument.takes


def _single(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: Mapping[str, Callable[[CommandLine], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
"""Shell -> what writes its script."""
