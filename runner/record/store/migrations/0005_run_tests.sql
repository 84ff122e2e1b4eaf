-- What the rows of a run that has ended come to, test by test: lines of text, for whoever reads many runs at once.
CREATE TABLE run_tests (
    run_id            TEXT    PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
    -- Of the manifest and of the rows, when they were read: what differs is read again.
    manifest_modified INTEGER NOT NULL,
    manifest_bytes    INTEGER NOT NULL,
    rows_modified     INTEGER NOT NULL,
    rows_bytes        INTEGER NOT NULL,
    tests             TEXT    NOT NULL
) STRICT;
