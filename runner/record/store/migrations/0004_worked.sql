-- When the latest session of a run was opened, how many there were, and how long those that are over have lasted together.
ALTER TABLE runs ADD COLUMN opened_at TEXT;
ALTER TABLE runs ADD COLUMN sessions  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN worked_ms INTEGER NOT NULL DEFAULT 0;
-- So that every manifest is read once more.
UPDATE runs SET opened_at = started_at, manifest_bytes = -1;
