#compdef runner
# Completions of `runner` for zsh: put this file into a folder of $fpath as `_runner`, or `source` it after `compinit`.
_runner() {
    local line about last=${words[CURRENT]}${compstate[quote]}
    local -a found described end
    # The words of the line have quotes and backslashes.
    found=(${(f)"$($words[1] __complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)last}" 2>/dev/null)"})
    (( $#found )) || { _files; return }
    for line in $found; do
        about=${line#*$'\t'}
        described+=("${${${line%%$'\t'*}//\\/\\\\}//:/\\:}${about:+:$about}")
        [[ $line == *[/=]$'\t'* ]] && end=(-S '')
    done
    _describe runner described $end
}
if [[ $funcstack[1] == _runner ]]; then _runner "$@"; else compdef _runner runner; fi
