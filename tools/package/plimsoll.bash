# bash completion for plimc, plim-opt and plim-dump, and for programs that plimc made:
#
#     complete -F _plimsoll_program ./gpt2
#
# Flags are asked of the tool itself (--help), entries and configs are read from the model on the command line,
# passes come from plim-opt --list: what is offered is what is taken. Needs nothing but bash 4.

# The flags in the help of the command given.
_plimsoll_flags() {
  "$@" --help 2>/dev/null | sed -nE 's/^  (-[-A-Za-z]+) .*/\1/p'
}

# What the help calls the flag's value: "f32|bf16", or nothing for a switch. Its column is at least 26 wide.
_plimsoll_value() { # flag, command...
  local flag=$1
  shift
  "$@" --help 2>/dev/null | sed -nE "s/^  $flag ([^ ]+) +.*/\1/p"
}

# The words that begin as the current one does, into COMPREPLY.
_plimsoll_offer() {
  local word=${COMP_WORDS[COMP_CWORD]}
  [[ $word == = ]] && word=
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$word")
}

# Of a list with commas only the last part is completed.
_plimsoll_offer_list() {
  local word=${COMP_WORDS[COMP_CWORD]} done=
  [[ $word == = ]] && word=
  [[ $word == *,* ]] && done=${word%,*},
  mapfile -t COMPREPLY < <(compgen -P "$done" -W "$1" -- "${word##*,}")
  compopt -o nospace 2>/dev/null
}

# Files whose names match one of the patterns, and folders; with no pattern folders alone.
_plimsoll_files() {
  local word=${COMP_WORDS[COMP_CWORD]} pattern
  [[ $word == = ]] && word=
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(
    for pattern in "$@"; do compgen -f -X "!$pattern" -- "$word"; done
    [[ ${1-} == '*' ]] || compgen -d -- "$word"
  )
}

# The first word on the command line that ends so and is a file.
_plimsoll_input() {
  local word
  for word in "${COMP_WORDS[@]:1}"; do
    [[ $word == *.$1 && -r $word ]] && printf '%s' "$word" && return
  done
}

# Names behind a keyword in the model on the command line: "entry train(" or "config tiny {".
_plimsoll_names() {
  local model
  model=$(_plimsoll_input plim)
  [[ $model ]] && sed -nE "s/^ *$1 +\"?([A-Za-z0-9_.-]+)\"?[ ({].*/\1/p" "$model"
}

# The word before the one being written, where that is "--flag value" or "--flag=value": bash takes = for a word.
_plimsoll_flag_before() {
  local at=$((COMP_CWORD - 1))
  [[ ${COMP_WORDS[at]} == = ]] && ((at--))
  ((at > 0)) && printf '%s' "${COMP_WORDS[at]}"
}

# A value by what the help calls it: words in small letters are a choice, others may name a file or a folder, and for
# a number or a text there is nothing to offer. False for a switch.
_plimsoll_offer_value() { # flag, command...
  local value choice=() word
  value=$(_plimsoll_value "$@")
  [[ $value ]] || return 1
  COMPREPLY=()
  case $value in
  *FILE* | PATH* | OUT* | IN*) _plimsoll_files '*' ;;
  DIR*) _plimsoll_files ;;
  esac
  for word in ${value//|/ }; do
    [[ $word == "${word,,}" ]] && choice+=("$word")
  done
  word=${COMP_WORDS[COMP_CWORD]}
  [[ $word == = ]] && word=
  mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "${choice[*]}" -- "$word")
}

_plimsoll_plimc() {
  local flag
  flag=$(_plimsoll_flag_before)
  case $flag in
  --emit) _plimsoll_offer 'graph plan llvm asm cuda ptx cubin obj lib exe' ;;
  --target) _plimsoll_offer 'cpu cpu:native cpu:x86-64-v4 cuda:sm_80 cuda:sm_90a cuda:sm_100a' ;;
  --order) _plimsoll_offer 'least program depth-first list eager' ;;
  --arrange) _plimsoll_offer naive ;;
  --entry) _plimsoll_offer_list "$(_plimsoll_names entry)" ;;
  --model) _plimsoll_offer "$(_plimsoll_names model)" ;;
  --dump-after) _plimsoll_offer "$(plim-opt --list 2>/dev/null | sed 's/ .*//')" ;;
  --config)
    _plimsoll_offer "$(_plimsoll_names config)"
    local names=("${COMPREPLY[@]}")
    _plimsoll_files '*.json'
    COMPREPLY=("${names[@]}" "${COMPREPLY[@]}")
    ;;
  -*) _plimsoll_offer_value "$flag" "$1" || _plimsoll_word "$1" '*.plim' '*.graph' '*.plan' ;;
  *) _plimsoll_word "$1" '*.plim' '*.graph' '*.plan' ;;
  esac
}

# Not a value: a flag where it begins so, else an input.
_plimsoll_word() { # command, patterns of inputs
  if [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
    _plimsoll_offer "$(_plimsoll_flags "$1")"
  else
    _plimsoll_files "${@:2}"
  fi
}

_plimsoll_plim_opt() {
  local flag
  flag=$(_plimsoll_flag_before)
  case $flag in
  --passes) _plimsoll_offer_list "$(plim-opt --list 2>/dev/null | sed 's/ .*//')" ;;
  --target) _plimsoll_offer 'cpu cpu:x86-64-v4 cuda:sm_80 cuda:sm_90a cuda:sm_100a' ;;
  --order) _plimsoll_offer 'least program depth-first list eager' ;;
  --arrange) _plimsoll_offer naive ;;
  --csv) _plimsoll_files '*.csv' ;;
  -*) _plimsoll_offer_value "$flag" "$1" || _plimsoll_word "$1" '*.graph' '*.plan' ;;
  *) _plimsoll_word "$1" '*.graph' '*.plan' ;;
  esac
}

_plimsoll_plim_dump() {
  local flag
  flag=$(_plimsoll_flag_before)
  case $flag in
  -*) _plimsoll_offer_value "$flag" "$1" || _plimsoll_word "$1" '*' ;;
  *) _plimsoll_word "$1" '*' ;;
  esac
}

# A program knows its commands, the flags of each, and its entries.
_plimsoll_program() {
  local flag word commands command=("$1")
  commands=$("$1" --help 2>/dev/null | sed -n '/^$/q; s/^  \([a-z]*\) .*/\1/p')
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ ${#command[@]} -eq 1 && $'\n'$commands$'\n' == *$'\n'$word$'\n'* ]] && command+=("$word")
  done
  flag=$(_plimsoll_flag_before)
  if [[ $flag == run ]]; then
    _plimsoll_offer "$("$1" info 2>/dev/null | sed -n 's/^entries *//p')"
  elif [[ $flag == -* ]] && _plimsoll_offer_value "$flag" "${command[@]}"; then
    return
  elif [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
    _plimsoll_offer "$(_plimsoll_flags "${command[@]}")"
  elif [[ ${#command[@]} -eq 1 ]]; then
    _plimsoll_offer "$commands"
  else
    _plimsoll_files '*'
  fi
}

complete -F _plimsoll_plimc plimc
complete -F _plimsoll_plim_opt plim-opt
complete -F _plimsoll_plim_dump plim-dump
