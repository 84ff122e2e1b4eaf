-- Since when and why `prune` leaves a run alone.
ALTER TABLE runs ADD COLUMN pinned_at TEXT;
ALTER TABLE runs ADD COLUMN pinned_reason TEXT;
