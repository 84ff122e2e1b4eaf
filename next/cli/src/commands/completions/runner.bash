# Completions of `runner` for bash: `source` this file, or put it into ~/.local/share/bash-completion/completions as `runner`.
_runner() {
    mapfile -t COMPREPLY < <("$1" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1)
    [[ ${COMPREPLY-} != */ ]] || compopt -o nospace 2>/dev/null
}
complete -o default -F _runner runner
