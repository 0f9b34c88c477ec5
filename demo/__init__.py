"""The demo checkpoint: a tiny Qwen2.5-VL, the scenes it knows, how it is built and trained. Runs in `.venv-engine`."""
