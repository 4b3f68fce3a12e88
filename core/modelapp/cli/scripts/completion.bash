# bash: source <(modelapp completion bash)

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
