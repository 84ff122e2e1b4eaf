#!/bin/sh
# Makes the runs of a format once, with the binary that wrote it: `make.sh RUNNER`, a debug build, for its failpoints.
# Works in /tmp/fixture, so that no path of the machine is in what it makes, and replaces `results` beside this file.
set -eu
runner=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
rm -rf /tmp/fixture
cp -r "$here/work" /tmp/fixture
cd /tmp/fixture

run() {
    env -i PATH="$PATH" HOME=/tmp/fixture TZ=UTC RUNNER_CACHE=/tmp/fixture/cache NO_COLOR=1 ${point:+RUNNER_FAILPOINT="$point"} "$runner" "$@"
}
# Expects an exit code: `expect CODE COMMAND…`.
expect() {
    code=$1; shift
    status=0; run "$@" > out 2> err || status=$?
    [ "$status" = "$code" ] || { echo "$* exited with $status:"; cat out err; exit 1; }
}
# Names the newest run by what it is for.
named() {
    newest=$(ls -d results/20* | tail -n 1)
    printf '%s %s\n' "$1" "$(basename "$newest")" >> names
}
# Runs six naps and sends a signal in the third.
in_the_middle() {
    signal=$1; shift; : > stream
    run "$@" -j 1 --json > stream 2> err & job=$!
    until grep -q '"seq":2' stream; do sleep 0.05; done
    process=$(pgrep -P "$job" || echo "$job")
    if [ "$signal" = STOP_AND_ASK ]; then
        kill -STOP $process
        expect 6 stop latest
        signal=KILL
    fi
    kill -"$signal" $process
    wait "$job" || true
}

expect 0 exec passes.toml -j 1; named passed
expect 1 exec kinds.toml -j 2; named failed
expect 0 exec passes.toml -j 1; named pinned; expect 0 pin latest --reason "the first good one"
in_the_middle INT exec slow.toml; named interrupted
in_the_middle TERM exec slow.toml; named terminated
in_the_middle INT exec slow.toml; named cancelled; expect 0 cancel latest
expect 4 exec slow.toml -j 1 --timeout-minutes 0.015; named timed-out
expect 4 exec kinds.toml -j 1 --fail-fast --exclude '*floods'; named gave-up
expect 3 exec odd.toml; named failed-to-begin

printf 'TOKEN=12345678\nOTHER=87654321\n' > secrets
expect 0 exec granted.toml --secret-file secrets; named granted

# Three sessions: cut short, gone on with, and some trials once more.
in_the_middle INT exec slow.toml; named resumed
expect 0 resume --from latest
expect 0 resume --from latest --rerun 'naps@say#2'

# A row that a death has torn, and that the next session has moved aside.
in_the_middle KILL exec slow.toml; named repaired
printf '{"v":1,"seq":3,"session":1,"ordi' >> "results/$(basename "$newest")/index.jsonl"
expect 0 resume --from latest

# Bad ones once more, and then a test that has changed.
sed 's/hello one/hello two/' kinds.toml > changing.toml
expect 1 exec changing.toml -j 2 --exclude '*floods'; named changed
expect 1 resume --from latest --rerun failed
cp kinds.toml changing.toml
expect 1 resume --from latest --accept-changes

expect 0 exec passes.toml --into results/chosen; echo "chosen chosen" >> names

# A program that dies is swept by the next that runs, so each does in a root of its own.
# Dead in the middle, when somebody had asked it to stop, with one row more that is torn.
mv results kept
in_the_middle STOP_AND_ASK exec slow.toml; named crashed
dir=$(ls -d results/20*)
printf '{"v":1,"seq":3,"session":1,"ordi' >> "$dir/index.jsonl"
mv "$dir" kept; cp -rn results/store kept; rm -r results
# Dead after the last row, before anybody said that it was complete.
point=finish.begin=kill expect 137 exec passes.toml -j 1; named crashed-complete
mv results/20* kept; cp -rn results/store kept; rm -r results
# Dead between the two steps of adopting what has changed.
sed 's/hello one/hello two/' kinds.toml > changing.toml
expect 1 exec changing.toml -j 2 --exclude '*floods'; named crashed-adopting
cp kinds.toml changing.toml
point=opening.scenario.synced=kill expect 137 resume --from latest --accept-changes
mv results/20* kept; cp -rn results/store kept; rm -r results
# Dead before there was a manifest.
point=birth.content=kill expect 137 exec passes.toml -j 1
mv results/20* kept; rm -r results
mv kept results
point=

# What is in the log of the last one who wrote.
python3 -c 'import sqlite3; sqlite3.connect("results/runner.db").execute("PRAGMA wal_checkpoint(TRUNCATE)")'
rm -f results/runner.db-*
sed -i 's/^host .*/host fixture/' results/.lock results/store/.lock results/*/lock
sed -i "s/host $(uname -n)/host fixture/" results/*/request-*.json
rm -rf "$here/results"
cp -r results "$here/results"
cp names "$here/names.txt"
