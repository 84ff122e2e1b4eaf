-- The tables of `runner.db` in a results root. If they are missing, they are created from the manifests of the runs.

CREATE TABLE runs (
    number       INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    -- The stamp of the manifest's file, the stamp of the rows, and the line of the run in a list, as JSON. `crc` is its CRC-32.
    entry        TEXT NOT NULL,
    crc          INTEGER NOT NULL,
    -- The manifest.
    manifest     TEXT NOT NULL,
    -- The stamps of the manifest and the rows whose results `trials` has, and their number, as JSON.
    filled       TEXT,
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

-- Ids of tests, and names of providers.
CREATE TABLE names (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE
) STRICT;

-- The newest final row of each trial, of the runs with `filled`.
CREATE TABLE trials (
    run         INTEGER NOT NULL,
    test        INTEGER NOT NULL,
    provider    INTEGER NOT NULL,
    repeat      INTEGER NOT NULL,
    outcome     TEXT NOT NULL,
    flaky       INTEGER NOT NULL,
    score       REAL,
    duration_us INTEGER NOT NULL,
    -- Milliseconds since 1970.
    started_at  INTEGER NOT NULL,
    -- The first 8 bytes of the row's fingerprints.
    fingerprint INTEGER NOT NULL,
    judgement_fingerprint INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    -- Of the provider and its graders, by their metrics.
    tokens      REAL,
    cost_usd    REAL,
    -- The CRC-32 of all columns and names.
    crc         INTEGER NOT NULL,
    PRIMARY KEY (run, test, provider, repeat)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER trials_go_with_their_run AFTER DELETE ON runs
BEGIN
    DELETE FROM trials WHERE run = OLD.number;
END;

CREATE VIEW results AS
SELECT runs.id AS run, scenario, path, test.name AS test, provider.name AS provider, repeat, outcome, trials.flaky AS flaky, score,
    duration_us / 1000.0 AS duration_ms, tokens, cost_usd, strftime('%Y-%m-%dT%H:%M:%SZ', trials.started_at / 1000, 'unixepoch') AS started_at, seq
FROM trials
JOIN runs ON runs.number = run
JOIN names AS test ON test.number = trials.test
JOIN names AS provider ON provider.number = trials.provider;
