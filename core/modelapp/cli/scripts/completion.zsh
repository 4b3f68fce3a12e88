#compdef modelapp
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
