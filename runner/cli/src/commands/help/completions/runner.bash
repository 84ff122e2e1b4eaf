# Completions of `runner` for bash: `source` this file, or put it into ~/.local/share/bash-completion/completions as `runner`.
_runner() {
    # COMP_WORDS are split at `@`, `:` and `=`, too, and have quotes and backslashes.
    local line=${COMP_LINE:0:COMP_POINT} char next word= quote= before= has_word= start i
    local -a words=()
    for ((i = 0; i < ${#line}; i++)); do
        char=${line:i:1}
        case $quote$char in
            "''" | '""') quote= ;;
            "'"?) word+=$char ;;
            \\ | '"'\\)
                i=$((i + 1)) next=${line:i:1} has_word=1
                [[ ! $quote || $next == [\\\"\$\`] ]] || word+=$char
                word+=$next
                ;;
            '"'?) word+=$char ;;
            [\'\"]) quote=$char before=$word has_word=1 ;;
            [[:space:]])
                [[ ! $has_word ]] || words+=("$word")
                word= has_word=
                ;;
            *) word+=$char has_word=1 ;;
        esac
    done
    words+=("$word")
    mapfile -t COMPREPLY < <("$1" __complete -- "${words[@]:1}" 2>/dev/null | cut -f1)
    [[ ${COMPREPLY-} ]] || return
    [[ $COMPREPLY != *[/=] ]] || compopt -o nospace 2>/dev/null
    if [[ $quote ]]; then
        # Bash replaces what follows the open quote, and closes it.
        COMPREPLY=("${COMPREPLY[@]#"$before"}")
        if [[ $quote == "'" ]]; then
            COMPREPLY=("${COMPREPLY[@]//\'/\'\\\'\'}")
        else
            for char in \\ \" \$ \`; do COMPREPLY=("${COMPREPLY[@]//"$char"/\\"$char"}"); done
        fi
        return
    fi
    # Bash runs the line as it is: a name may contain `;` or `$(…)`.
    mapfile -t COMPREPLY < <(printf '%q\n' "${COMPREPLY[@]}")
    # Bash replaces only what follows the last of these characters, and the `@` itself.
    before=${word%"${word##*[${COMP_WORDBREAKS//[^@:=]/}]}"}
    printf -v start %q "${before%@}"
    [[ $word != *[@:=]* ]] || COMPREPLY=("${COMPREPLY[@]#"$start"}")
}
complete -o default -F _runner runner
