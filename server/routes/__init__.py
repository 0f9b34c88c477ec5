"""HTTP in, HTTP out, through the framework: everything that is not the hot path. Adding a task edits none of it."""
