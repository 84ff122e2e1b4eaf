# Completions of `runner` for bash: `source` this file, or put it into ~/.local/share/bash-completion/completions as `runner`.
_runner() {
    local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    # In open quotes, bash completes files itself.
    [[ ${words[-1]} != *[\"\']* ]] || return
    mapfile -t COMPREPLY < <("$1" __complete -- "${words[@]//\\/}" 2>/dev/null | cut -f1)
    # Bash runs the line as it is: a name may contain `;` or `$(…)`.
    [[ ! ${COMPREPLY-} ]] || mapfile -t COMPREPLY < <(printf '%q\n' "${COMPREPLY[@]}")
    [[ ${COMPREPLY-} != *[/=] ]] || compopt -o nospace 2>/dev/null
}
complete -o default -F _runner runner
