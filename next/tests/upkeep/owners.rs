//! Runs of other users: commands that execute or delete refuse them, commands that read do not.
