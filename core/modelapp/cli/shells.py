"""The scripts that make bash, zsh and fish complete the command line.

What the parser knows is written into them; what only app.toml knows they ask `modelapp complete` for.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping

from modelapp.cli.completion import ANYTHING, FILES, FOLDERS, Argument, CommandLine, Verb

_BASH = r"""# bash: source <(modelapp completion bash)

# Fills `words` with the words up to the cursor, whole again where bash cut them at = : or @.
_modelapp_words() {
  local rest=${COMP_LINE:0:COMP_POINT} bare piece place
  words=()
  for ((place = 0; place <= COMP_CWORD; place++)); do
    bare=${rest#"${rest%%[![:space:]]*}"}
    piece=${COMP_WORDS[place]}
    [[ $place -eq $COMP_CWORD ]] && piece=$bare
    [[ $place -eq 0 || $bare != "$rest" ]] && words+=("")
    words[${#words[@]} - 1]+=$piece
    rest=${bare#"$piece"}
  done
}

# Fills `plain` with a word without its quotes.
_modelapp_plain() {
  plain=${1//\\/}
  plain=${plain#[\"\']}
  plain=${plain%[\"\']}
  [[ $plain == "~/"* ]] && plain=$HOME/${plain:2}
}

# Offers lines for the word `current` of which `lead` is settled.
_modelapp_lines() {
  local line word cut= mark
  for mark in = : @; do  # bash replaces what follows the last of them, an @ included
    if [[ $COMP_WORDBREAKS == *$mark* && $current == *$mark* && $current != [\"\']* ]]; then
      word=${current%"${current##*"$mark"}"}
      [[ $mark == @ ]] && word=${word%@}
      [[ ${#word} -gt ${#cut} ]] && cut=$word
    fi
  done
  while IFS= read -r line; do
    [[ -n $line ]] || continue
    if [[ $current == [\"\']* ]]; then
      [[ $line == *[\"\'\\\$\`]* ]] && continue
      word=${current:0:1}$line
      [[ $word == "$current"* ]] && COMPREPLY+=("$line")
    else
      printf -v word %q "$line"
      word=$lead$word
      [[ $word == "$current"* ]] && COMPREPLY+=("${word#"$cut"}")
    fi
  done
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace 2>/dev/null
}

# Offers folders (-d) or files (-f) for what follows `lead`.
_modelapp_paths() {
  local plain line
  _modelapp_plain "${current#"$lead"}"
  if [[ $lead == *@ ]]; then  # which bash would take for a part of the path
    _modelapp_lines < <(compgen "$1" -- "$plain" | while IFS= read -r line; do
      [[ -d $line ]] && line=$line/
      printf '%s\n' "$line"
    done)
    return
  fi
  compopt -o filenames 2>/dev/null
  while IFS= read -r line; do
    COMPREPLY+=("$line")
  done < <(compgen "$1" -- "$plain")
}

# Offers what the value of an option, or a word of a verb, may be.
_modelapp_offer() {
  local plain=.
  [[ -n $directory ]] && _modelapp_plain "$directory"
  case $1 in
    anything) ;;
    folders) _modelapp_paths -d ;;
    files) _modelapp_paths -f ;;
    choices*) _modelapp_lines < <(tr ' ' '\n' <<<"${1#choices }") ;;
    *) _modelapp_lines < <("${words[0]}" -C "$plain" complete "$1" -- ${given+"${given[@]}"} 2>/dev/null) ;;
  esac
}

# Fills `kind` with what the value of an option of a verb is; empty for an option without.
_modelapp_kind() {
  case $1/$2 in
@KINDS@
    *) kind= ;;
  esac
}

_modelapp() {
  local words current lead= verb= option= directory= kind= word place given=()
  COMPREPLY=()
  _modelapp_words
  current=${words[${#words[@]} - 1]}
  for ((place = 1; place < ${#words[@]} - 1; place++)); do
    word=${words[place]}
    if [[ -n $option ]]; then
      [[ $option == -C ]] && directory=$word
      option=
    elif [[ $word == -* ]]; then
      _modelapp_kind "$verb" "$word"
      [[ -n $kind ]] && option=$word
    elif [[ -z $verb ]]; then
      verb=$word
    else
      given+=("$word")
    fi
  done
  if [[ -z $option && $current == --*=* ]]; then
    option=${current%%=*}
    lead=$option=
  fi
  if [[ -n $option ]]; then
    _modelapp_kind "$verb" "$option"
    _modelapp_offer "${kind:-anything}"
    return
  fi
  case $verb in
@VERBS@
  esac
}

complete -F _modelapp modelapp
"""


def bash(line: CommandLine) -> str:
    """For bash 3.2 and later."""
    kinds = [*_bash_kinds("*", line.options)]
    verbs = [*_bash_verb("", line.options, f"choices {' '.join(verb.name for verb in line.verbs)}", again=True)]
    for verb in line.verbs:
        kinds = [*_bash_kinds(verb.name, _own(verb, line)), *kinds]
        words = verb.words
        verbs += _bash_verb(verb.name, verb.options, _kind(words) if words else "", again=bool(words and words.again))
    return _BASH.replace("@KINDS@", "\n".join(kinds)).replace("@VERBS@", "\n".join(verbs))


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


_ZSH = r"""#compdef modelapp
# zsh: source <(modelapp completion zsh), or save it as _modelapp in a folder of $fpath

# Called with what compadd wants, and at the end the kind of name.
_modelapp_offer() {
  local kind=$argv[-1] folder=${opt_args[-C]:-$_modelapp_folder}
  local -a found given passed=("${(@)argv[1,-2]}")
  if [[ $kind == inputs ]]; then
    if compset -P '*=@'; then
      _files $passed
      return
    fi
    given=(${(Q)line[1,-2]})
  fi
  folder=${${(Q)${(Q)folder:-.}}/#\~\//$HOME/}
  found=("${(@f)$(${~_modelapp_program} -C $folder complete $kind -- $given 2>/dev/null)}")
  found=(${found:#})
  compadd $passed -S '' -- ${(M)found:#*=}
  compadd $passed -- ${found:#*=}
}

_modelapp_verbs() {
  local -a verbs
  verbs=(
@VERBS@
  )
  _describe verb verbs
}

_modelapp() {
  local curcontext=$curcontext state line _modelapp_program=${(Q)words[1]} _modelapp_folder=
  typeset -A opt_args
  _arguments -C \
@COMMON@
    '1:verb:_modelapp_verbs' \
    '*::word:->words'
  [[ $state == words ]] || return
  _modelapp_folder=${opt_args[-C]}
  case $line[1] in
@CASES@
  esac
}

if [[ $funcstack[1] == _modelapp ]]; then
  _modelapp "$@"
else
  compdef _modelapp modelapp
fi
"""


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
    filled = _ZSH.replace("@VERBS@", "\n".join(verbs)).replace("@COMMON@", "\n".join(common))
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


_FISH = r"""# fish: modelapp completion fish | source

# The verb, the words after it, and the folder of -C, up to the cursor.
function __modelapp_read
    set -g __modelapp_verb
    set -g __modelapp_given
    set -g __modelapp_folder .
    set -l words (commandline -opc)
    set -g __modelapp_program $words[1]
    set -l option
    for word in $words[2..]
        if test -n "$option"
            test "$option" = -C; and set __modelapp_folder (string replace -r '^~/' "$HOME/" -- $word)
            set option
        else if contains -- $word @VALUED@
            set option $word
        else if string match -q -- '-*' $word
            continue
        else if test -z "$__modelapp_verb"
            set __modelapp_verb $word
        else
            set -a __modelapp_given $word
        end
    end
end

function __modelapp_at
    __modelapp_read
    test "$__modelapp_verb" = "$argv[1]"
end

function __modelapp_first
    __modelapp_at $argv[1]; and test (count $__modelapp_given) -eq 0
end

function __modelapp_offer
    __modelapp_read
    if test $argv[1] = inputs; and string match -q '*=@*' -- (commandline -ct)
        set -l parts (string split -m 1 @ -- (commandline -ct))
        for path in (__fish_complete_path $parts[2])
            echo $parts[1]@$path
        end
        return
    end
    $__modelapp_program -C $__modelapp_folder complete $argv[1] -- $__modelapp_given 2>/dev/null
end

complete -c modelapp -f
"""


def fish(line: CommandLine) -> str:
    """For fish 3 and later."""
    every = [*line.options, *(option for verb in line.verbs for option in verb.options)]
    valued = dict.fromkeys(flag for option in every if option.takes for flag in option.flags)
    lines = [_FISH.replace("@VALUED@", " ".join(valued)).rstrip()]
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
