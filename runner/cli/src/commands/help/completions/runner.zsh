#compdef runner
# Completions of `runner` for zsh: put this file into a folder of $fpath as `_runner`, or `source` it after `compinit`.
_runner() {
    local line
    local -a found described end
    found=(${(f)"$($words[1] __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    (( $#found )) || { _files; return }
    for line in $found; do
        described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        [[ $line == *[/=]$'\t'* ]] && end=(-S '')
    done
    _describe runner described $end
}
if [[ $funcstack[1] == _runner ]]; then _runner "$@"; else compdef _runner runner; fi
