#!/usr/bin/env python3
"""Writes promises.md: what the first edition promises, and which test of the second edition shows it.

The rows come from the tables of the first edition at one commit, from the laws of the second edition's architecture and
from the findings of an attack on the first edition. A state that was filled in stays when the script runs again:

* `open`: no test shows it yet;
* `test_name` (or more, separated by commas): the tests that show it;
* `changed: why`: the second edition does not promise it.
"""

import re
import subprocess
from pathlib import Path

COMMIT = "e552e42"
HERE = Path(__file__).parent.parent
TABLE = HERE / "promises.md"

LAWS = [
    "A run is `completed` exactly if every planned trial has a final row on disk, and every trial that a session's `--rerun` selects has one of that session or a later one. No other word of success exists.",
    "Only the holder of the lock writes the status; reading commands write nothing into a run.",
    "A row is counted, shown or sent only after `fdatasync`.",
    "Live state, resume, sweep and reports are one fold over rows and sessions.",
    "The coordinator never loads foreign code. Nothing from a worker is believed beyond what `model` checks.",
    "Paths below a root are opened by handle, without links; a name that a guest or worker gave never becomes a path.",
    "A secret's value leaves neither a worker nor the coordinator's memory, except where the scenario grants it.",
    "What a guest wrote is data: visible text on terminals, text in pages, a download as a file.",
    "Every stop, timeout and bound ends in bounded time, whatever guests and workers do.",
    "The same manifest and rows give the same exit code, by one function.",
    "Deleting `runner.db`, a cache, `live.json` or a NATS server's data costs time or the precision of a time, and no answer.",
    "A scenario starts no program outside of the sandbox, and its guests get only what its text grants.",
]

FINDINGS = [
    "A filter over HTTP reads only runs of the served results root.",
    "A client that does not read its answer is cut off after a bounded time, and clients without a token cannot take all connections.",
    "A list of globs in a request is bounded, in number and in cost.",
    "A token file that others can read or write is refused or named in a warning.",
    "The bound on headers is the documented one, and every answer with a guest's data has `Cache-Control: no-store`.",
    "A worker on another machine hands a run no variable and no secret that its ceiling does not allow, by whatever key the scenario asks for it.",
    "A worker that declines a run leaves nothing of the run in its store.",
    "A worker's store is readable for its owner only.",
    "No password of an engine stands in the arguments of a process.",
    "The server reads a run's files without following links, and a row's artifact name is checked before it is opened.",
    "A manifest, a scenario or a request of the queue beyond a bound is refused and not read into memory.",
    "A browser's cookie for the server does not work as the server's token, and no other port of the machine gets it.",
    "A dry run and the plan of the server name the addresses that the scenario's notifications are posted to.",
    "Settings and a queue in a results root that others can write to start nothing.",
    "The documented way to reach a server from another machine lets no other user of the near machine in.",
    "A resume over HTTP does not take a changed scenario from outside of the server's folders.",
    "A client that follows events and does not read is cut off, and what waits for it is bounded in bytes.",
    "Artifacts are written below the run by handle, never through a link in the run's directory.",
    "The name of an artifact from a worker never becomes a path, and is checked where a report is decoded.",
    "What a worker reports is bounded at the run by the provider's limits, and so is the number of its messages that are kept.",
    "Opening the browser shows the login link to no other user of the machine.",
    "One request cannot start more processes than the machine's cores and memory allow.",
]

SERVER = [
    ("The server answers no call without the token, which is compared in constant time.", ["calls_without_the_token_are_refused"]),
    ("A login link works once, within five minutes, and its secret leaves the address.", ["links_log_one_browser_in", "links_work_once_and_within_their_time", "token_in_a_page_gives_a_link"]),
    ("A socket file has mode 0600 and needs the token, too.", ["socket_files_need_the_token_too"]),
    ("`Host` must be a name of the server or of `--allow-host`: 421.", ["only_names_of_the_server_are_answered"]),
    ("Pages of other sites and ports are refused, and a change is JSON: 403, 415.", ["pages_of_other_sites_are_refused", "changes_are_json_and_need_their_method"]),
    ("Other machines need `--allow-host`, and change nothing without `--allow-writes`.", ["addresses_that_cannot_be_used_are_explained", "read_only_servers_refuse_every_change", "browsers_at_an_allowed_name_can_log_in"]),
    ("A read-only server refuses every change before it looks at names.", ["read_only_servers_refuse_every_change"]),
    ("Requests that are too large or too slow are refused, and connections and streams are bounded.", ["too_large_requests_are_refused", "silent_connections_keep_no_holder_out", "too_many_streams_leave_room_for_calls", "only_readers_that_take_nothing_are_cut_off"]),
    ("Scripts of other origins and text of guests run in no page.", ["answers_have_strict_headers"]),
    ("A client of events that comes back misses no row and gets none twice, also from another server; an unknown place is `reset`.", ["each_row_is_sent_once_also_by_another_server", "unknown_cursors_are_reset", "changes_of_all_runs_are_sent", "damaged_rows_add_no_events"]),
    ("Runs outlive the server, which ends dead runs and starts requests of the queue.", ["servers_end_dead_runs_and_start_requests"]),
]

NOTIFICATIONS = [
    ("Receivers are notified once the run's end is on disk.", ["ended_run_is_posted_with_its_state", "silent_receiver_holds_neither_screen_nor_exit_code"]),
    ("No result of a notification changes status, verdict or exit code.", ["silent_receiver_holds_neither_screen_nor_exit_code", "refusals_and_redirects_are_not_repeated"]),
    ("`on` selects statuses and the two verdicts of a completed run.", ["receivers_get_the_ends_they_name"]),
    ("`longer_than` reports a session once.", ["long_session_is_reported_once"]),
    ("The process of a run waits for at most `wait`, and a signal ends the wait.", ["wait_bounds_the_end_of_a_session", "silent_receiver_holds_neither_screen_nor_exit_code"]),
    ("Temporary failures are repeated with growing pauses. Other answers refuse the notification.", ["temporary_failures_are_repeated_with_the_same_id", "refusals_and_redirects_are_not_repeated"]),
    ("No redirect is followed, and no endless response is read.", ["refusals_and_redirects_are_not_repeated", "endless_response_is_not_read"]),
    ("Addresses that are not public need `private = true`.", ["private_addresses_need_their_key"]),
    ("Requests are signed by Standard Webhooks, and never sent without their secret.", ["requests_are_signed_by_standard_webhooks", "signature_is_that_of_the_specification"]),
    ("Commands get the document and the variables, without a shell, and are killed with their process group.", ["commands_get_document_and_variables", "late_command_is_killed_with_its_children"]),
    ("A scenario has no `commands`.", ["scenarios_cannot_start_programs_at_the_end"]),
    ("`notifications.jsonl` has every attempt, of an address only scheme, host and port, and no secret.", ["ended_run_is_posted_with_its_state", "requests_are_signed_by_standard_webhooks", "torn_lines_of_the_log_are_skipped"]),
    ("A death at any moment loses no notification. One that is sent twice has the same id.", ["killed_process_loses_no_notification"]),
    ("`notify`, a server and `queue work` send notifications that are left, within a day with growing pauses.", ["killed_process_loses_no_notification", "upkeep_pauses_between_failed_attempts"]),
    ("Runs whose process has died are reported.", ["cleanup_notifies_of_dead_runs", "upkeep_ends_dead_runs_and_notifies"]),
    ("A session that ends as the last reported one is not reported again.", ["same_end_of_next_session_is_no_news"]),
    ("Several senders send a notification once.", ["one_of_many_senders_notifies"]),
    ("A new receiver is not notified of old runs.", ["new_receiver_is_not_notified_of_old_runs"]),
]

# Promises that have changed, or whose last part is shown later than the rest: the start of the promise, the words that
# leave it, the words that stay in their place, and the row of the part, if it has one.
PARTS = [
    ("Law 4.", ", sweep and reports are", " and sweep are", "Law 4, reports: they are the same fold"),
    ("Law 8.", ", a download as a file", "", "Law 8, downloads: a download as a file"),
    ("Law 11.", ", `live.json` or a NATS server's data", " or `live.json`", "Law 11, fleet: the same for a NATS server's data"),
    ("Exit code 1:", ", `compare --fail-on` found what it is to fail on", "", "Exit code 1, compare: `compare --fail-on` found what it is to fail on"),
    ("Exit code 2:", ", an unknown run, or the name of a worker that another one has", ", or an unknown run", "Exit code 2, workers: the name of a worker that another one has"),
    ("Exit code 4:", ", a process that died, trials without a result in shards that were merged", ", a process that died", "Exit code 4, merge: trials without a result in shards that were merged"),
    ("executors that die, leave,", ", no grader is asked before its row is on disk, each graded attempt has one judgement", "", "the same for graders: none is asked before its row is on disk, each graded attempt has one judgement"),
    ("whole rows are gone that were counted,", "`show`, `report` and `resume`", "`show` and `resume`", "the same in `report`: it says how many and counts what is left"),
    ("each timeout:", " command line,", "", "the run's timeout: its end names the key or the flag that set it"),
    ("somebody overwrites or cuts", ", which the run's log tells,", ",", "the same: the run's log tells what was replaced"),
    ("lines of `logs-*.jsonl`", "`verify` and `logs` name each attempt", "`verify` names each attempt", "the same: `logs` names each such attempt"),
    ("a second runner on a live run;", "pid, host and since", "pid and host", "the same: exit 6 says since when the other one holds it"),
    ("a newer runner has written", "the manifest or rows (`format` and `v` edited)", "the manifest (`format` edited)", "the same for rows (`v` edited): the run is never written, exit 2 with both versions"),
    ("`✗ failed`: ", "`✗ failed`", "`failed`, shown as `✗ not started`", ""),
    ("to be loaded from a cache", "", "", "to fill the cache with its versions: entries that were unused for 30 days go, and the longest unused ones above 5 GiB"),
    ("to read results, logs or outputs", "the umask lets", "the umask or the folder lets", ""),
    ("F14.", "Settings and a queue in a results root that others can write to start nothing", "Settings in a results root that others can write to do not count", "F14, starts: settings and a queue there start nothing."),
]


def page(path):
    shown = subprocess.run(["git", "show", f"{COMMIT}:{path}"], cwd=HERE, capture_output=True, text=True, check=True)
    return shown.stdout


def tables(path):
    """The tables of a page: for each its heading, and its rows as lists of cells."""
    heading, found = "", []
    is_in_table = False
    for line in page(path).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        is_row = line.startswith("|")
        if is_row and not is_in_table:
            found.append((heading, []))
        if is_row:
            found[-1][1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
        is_in_table = is_row
    return [(heading, rows[2:]) for heading, rows in found]


def links_removed(text):
    """Links of the pages lead elsewhere from here."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)


def sections():
    """The sections of the table: a title, and promises with the names of the tests that showed them."""

    def names(cell):
        return re.findall(r"`([a-z0-9_]+)`", cell)

    yield "Laws", [(f"Law {n}. {law}", []) for n, law in enumerate(LAWS, 1)]
    for heading, rows in tables("docs/outcomes.md"):
        title = {"Status and verdict of a run": "Statuses and reasons"}.get(heading, heading)
        promises = []
        for name, meaning, *reasons in rows:
            kind = {"Exit codes": "Exit code "}.get(heading, "")
            promises.append((f"{kind}{name}: {meaning}", []))
            named = [f"reason `{r}`" for r in re.findall(r"`([a-z-]+)`", "".join(reasons))]
            named = ["a reason of `failed` once there is a row" if r == "reason `failed`" else r for r in named]
            promises += [(f"{name}, {reason}", []) for reason in named]
        yield title, promises
    for heading, rows in tables("runner/SANDBOX.md"):
        if heading.startswith("Limits"):
            yield f"Sandbox: {heading}", [(f"At most, {what}: {most}", []) for what, most, _ in rows]
        else:
            yield f"Sandbox: {heading}", [(f"{tries}: {stops}", names(tests)) for tries, stops, tests in rows]
    for _, rows in tables("runner/FAULTS.md"):
        yield "Faults", [(f"{fault} ({how}): {must}", names(tests)) for fault, how, must, tests in rows]
    yield "Notifications", NOTIFICATIONS
    yield "The server", SERVER
    yield "Findings of an attack", [(f"F{n}. {text}", []) for n, text in enumerate(FINDINGS, 1)]


def parts_of(promise):
    """The promise, or its parts if they have rows of their own."""
    for start, leaving, staying, part in PARTS:
        if promise.startswith(start):
            assert leaving in promise, promise
            return [text for text in [promise.replace(leaving, staying), part] if text]
    return [promise]


def states():
    """The states that stand in the file, by their promise."""
    if not TABLE.exists():
        return {}
    rows = (re.match(r"\| (.*) \| (.*) \|$", line) for line in TABLE.read_text().splitlines())
    return {row[1]: row[2] for row in rows if row}


def tests_of_this_edition():
    sources = [path.read_text() for path in HERE.parent.rglob("*.rs")]
    return {name for source in sources for name in re.findall(r"#\[(?:tokio::)?test\]\s+(?:#\[.*\]\s+)*(?:async )?fn (\w+)", source)}


def main():
    filled, tests = states(), tests_of_this_edition()
    lines = [
        "# Promises",
        "",
        "What the first edition promises, and which test of the second edition shows it. `repository/promises.py` writes this page and",
        "keeps the second column: `open`, names of tests, or `changed:` with the reason. In the table of faults, 1–5 are:",
        "(1) a list never says `running` of a run without a process, nor `completed` of one without a final row for each",
        "trial; (2) every row that was told of is on disk; (3) no attempt has two rows, and no trial two results that nobody",
        "asked for; (4) a resumed run comes to the rows of an undisturbed one; (5) manifest, list and show agree.",
    ]
    is_open = total = 0
    for title, promises in sections():
        lines += ["", f"## {title}", "", "| promise | state |", "| --- | --- |"]
        for promise, shown_by in promises:
            for promise in parts_of(links_removed(promise)):
                state = filled.get(promise, "open")
                # A test that was moved has kept its name.
                if state == "open" and shown_by and all(name in tests for name in shown_by):
                    state = ", ".join(f"`{name}`" for name in shown_by)
                lines.append(f"| {promise} | {state} |")
                total += 1
                is_open += state == "open"
    TABLE.write_text("\n".join(lines) + "\n")
    print(f"{total} promises, {is_open} open")


main()
