"""Requests made up from our own OpenAPI, right and wrong ones: `python -m benchmarks.fuzz`."""
