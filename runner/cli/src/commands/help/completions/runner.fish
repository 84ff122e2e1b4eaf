# Completions of `runner` for fish: put this file into ~/.config/fish/completions as `runner.fish`.
function __runner_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    # The last word has quotes and backslashes, and its last quote may be open.
    set -l last (string unescape -- $typed; or string unescape -- $typed\'; or string unescape -- $typed\"; or echo $typed)
    set -l found ($words[1] __complete -- $words[2..-1] "$last" 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path "$last"
    end
end
complete -c runner -f -a '(__runner_complete)'
