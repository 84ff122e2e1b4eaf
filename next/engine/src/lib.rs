//! Plans, schedules and coordinates runs.
