-- What a session that goes on with a run was asked for.
ALTER TABLE sessions ADD COLUMN rerun    TEXT;
ALTER TABLE sessions ADD COLUMN from_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN forced   INTEGER NOT NULL DEFAULT 0;

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
