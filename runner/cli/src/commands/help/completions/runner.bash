# Completions of `runner` for bash: `source` this file, or put it into ~/.local/share/bash-completion/completions as `runner`.
_runner() {
    local line=${COMP_LINE:0:COMP_POINT} last start
    # In open quotes, bash completes files itself.
    [[ $line != *[\"\']* ]] || return
    # COMP_WORDS are split at `@`, `:` and `=`, too. Without -r, `read` removes backslashes.
    local -a words
    read -a words <<<"$line"
    [[ ! $line =~ [^\\][[:space:]]+$ ]] || words+=("")
    last=${words[-1]}
    mapfile -t COMPREPLY < <("$1" __complete -- "${words[@]:1}" 2>/dev/null | cut -f1)
    # Bash runs the line as it is: a name may contain `;` or `$(…)`.
    [[ ! ${COMPREPLY-} ]] || mapfile -t COMPREPLY < <(printf '%q\n' "${COMPREPLY[@]}")
    [[ ${COMPREPLY-} != *[/=] ]] || compopt -o nospace 2>/dev/null
    # Bash replaces only what follows the last of these characters.
    printf -v start %q "${last%"${last##*[${COMP_WORDBREAKS//[^@:=]/}]}"}"
    [[ ! $last == *[@:=]* ]] || COMPREPLY=("${COMPREPLY[@]#"$start"}")
}
complete -o default -F _runner runner
