CREATE TABLE runs (
    run_id            TEXT    PRIMARY KEY,
    scenario          TEXT    NOT NULL,
    created_at        TEXT    NOT NULL,
    started_at        TEXT    NOT NULL,
    completed_at      TEXT,
    -- Null only between a run's insertion and its first transition, inside of one transaction.
    status            TEXT    CHECK (status IN ('running', 'completed', 'failed', 'incomplete', 'cancelled')),
    reason            TEXT,
    signal            TEXT,
    stage             TEXT    NOT NULL CHECK (stage IN ('plan', 'run', 'finish')),
    verdict           TEXT    NOT NULL CHECK (verdict IN ('passed', 'failed', 'none')),
    planned           INTEGER NOT NULL,
    passed            INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    error             INTEGER NOT NULL,
    timeout           INTEGER NOT NULL,
    skipped           INTEGER NOT NULL,
    flaky             INTEGER NOT NULL,
    -- Of the manifest, when it was read: what differs is read again.
    manifest_modified INTEGER NOT NULL,
    manifest_bytes    INTEGER NOT NULL, pinned_at TEXT, pinned_reason TEXT, opened_at TEXT, sessions  INTEGER NOT NULL DEFAULT 0, worked_ms INTEGER NOT NULL DEFAULT 0,
    CHECK ((completed_at IS NULL) = (status IS NULL OR status = 'running'))
) STRICT;

CREATE TABLE sessions (
    run_id    TEXT    NOT NULL REFERENCES runs ON DELETE CASCADE,
    n         INTEGER NOT NULL,
    opened_at TEXT    NOT NULL,
    closed_at TEXT,
    opened_by TEXT    NOT NULL,
    reason    TEXT, rerun    TEXT, from_seq INTEGER NOT NULL DEFAULT 0, forced   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, n)
) STRICT;

CREATE TABLE transitions (
    run_id      TEXT    NOT NULL REFERENCES runs ON DELETE CASCADE,
    n           INTEGER NOT NULL,
    at          TEXT    NOT NULL,
    from_status TEXT,
    to_status   TEXT    NOT NULL,
    reason      TEXT,
    writer      TEXT    NOT NULL,
    PRIMARY KEY (run_id, n)
) STRICT;

CREATE TRIGGER run_begins_without_status BEFORE INSERT ON runs
WHEN NEW.status IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a run gets its status by a transition');
END;

CREATE TRIGGER status_change_is_legal BEFORE UPDATE OF status ON runs
WHEN coalesce(OLD.status, '') || '>' || NEW.status NOT IN (
    '>running',
    'running>completed', 'running>failed', 'running>incomplete', 'running>cancelled',
    'incomplete>running', 'failed>running', 'completed>running', 'cancelled>running',
    'incomplete>cancelled', 'failed>cancelled'
)
BEGIN
    SELECT RAISE(ABORT, 'illegal transition');
END;

CREATE TRIGGER transition_begins_at_the_status BEFORE INSERT ON transitions
WHEN NEW.from_status IS NOT (SELECT status FROM runs WHERE run_id = NEW.run_id)
BEGIN
    SELECT RAISE(ABORT, 'a transition begins at the status that the run has');
END;

CREATE TRIGGER transition_sets_the_status AFTER INSERT ON transitions
BEGIN
    UPDATE runs
    SET status = NEW.to_status,
        reason = NEW.reason,
        completed_at = CASE NEW.to_status WHEN 'running' THEN NULL ELSE NEW.at END
    WHERE run_id = NEW.run_id;
END;

CREATE TRIGGER completed_run_goes_on_only_to_rerun BEFORE INSERT ON transitions
WHEN NEW.from_status = 'completed' AND NEW.to_status = 'running' AND NOT EXISTS (
    SELECT 1 FROM sessions WHERE run_id = NEW.run_id AND opened_at = NEW.at AND rerun IS NOT NULL
)
BEGIN
    SELECT RAISE(ABORT, 'a completed run goes on only with something to run again');
END;

CREATE TRIGGER cancelled_run_goes_on_only_by_force BEFORE INSERT ON transitions
WHEN NEW.from_status = 'cancelled' AND NEW.to_status = 'running' AND NOT EXISTS (
    SELECT 1 FROM sessions WHERE run_id = NEW.run_id AND opened_at = NEW.at AND forced
)
BEGIN
    SELECT RAISE(ABORT, 'a cancelled run goes on only by force');
END;

CREATE TABLE run_tests (
    run_id            TEXT    PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
    -- Of the manifest and of the rows, when they were read: what differs is read again.
    manifest_modified INTEGER NOT NULL,
    manifest_bytes    INTEGER NOT NULL,
    rows_modified     INTEGER NOT NULL,
    rows_bytes        INTEGER NOT NULL,
    tests             TEXT    NOT NULL
) STRICT;
