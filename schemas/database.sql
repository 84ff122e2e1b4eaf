-- The tables of `runner.db` in a results root. If they are missing, they are created from the manifests of the runs.

CREATE TABLE runs (
    number       INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    -- The stamp of the manifest's file, the stamp of the rows, and the line of the run in a list, as JSON. `crc` is its CRC-32.
    entry        TEXT NOT NULL,
    crc          INTEGER NOT NULL,
    -- The manifest.
    manifest     TEXT NOT NULL,
    scenario     TEXT AS (manifest ->> '$.scenario'),
    path         TEXT AS (manifest ->> '$.scenario_path'),
    status       TEXT AS (manifest ->> '$.status'),
    reason       TEXT AS (manifest ->> '$.reason'),
    verdict      TEXT AS (manifest ->> '$.verdict'),
    started_at   TEXT AS (manifest ->> '$.started_at'),
    completed_at TEXT AS (manifest ->> '$.completed_at'),
    planned      INTEGER AS (manifest ->> '$.metadata.planned_trial_count'),
    passed       INTEGER AS (manifest ->> '$.counts.passed'),
    failed       INTEGER AS (manifest ->> '$.counts.failed'),
    error        INTEGER AS (manifest ->> '$.counts.error'),
    timeout      INTEGER AS (manifest ->> '$.counts.timeout'),
    skipped      INTEGER AS (manifest ->> '$.counts.skipped'),
    flaky        INTEGER AS (manifest ->> '$.counts.flaky')
) STRICT;

-- The columns that the runner reads, without the pages of the manifests.
CREATE INDEX entries ON runs (id, entry, crc);

CREATE TRIGGER status_follows_the_graph AFTER UPDATE ON runs
WHEN OLD.status <> NEW.status AND OLD.status || '>' || NEW.status NOT IN (
    'running>completed', 'running>failed', 'running>incomplete', 'running>cancelled',
    'completed>running', 'failed>running', 'incomplete>running', 'cancelled>running',
    'incomplete>cancelled', 'failed>cancelled'
)
BEGIN
    SELECT RAISE(ABORT, 'the status graph has no such change');
END;
