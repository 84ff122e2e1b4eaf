-- The tables of `runner.db` in a results root. They are made from the manifests of its runs whenever they are missing.

CREATE TABLE runs (
    id           TEXT PRIMARY KEY,
    -- Which file the manifest was read from and what a list says of the run, and the CRC-32 of that.
    entry        TEXT NOT NULL,
    crc          INTEGER NOT NULL,
    -- The manifest.
    manifest     TEXT NOT NULL,
    scenario     TEXT AS (manifest ->> '$.scenario'),
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

-- All that the runner reads, without the pages of the manifests.
CREATE INDEX entries ON runs (id, entry, crc);

CREATE TRIGGER status_follows_the_graph AFTER UPDATE ON runs
WHEN OLD.status <> NEW.status AND OLD.status || '>' || NEW.status NOT IN (
    'running>completed', 'running>failed', 'running>incomplete', 'running>cancelled',
    'completed>running', 'failed>running', 'incomplete>running', 'cancelled>running',
    'incomplete>cancelled', 'failed>cancelled'
)
BEGIN
    SELECT RAISE(ABORT, 'a run cannot change its status so');
END;
