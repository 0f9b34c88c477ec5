"""Two public suites of OpenAI compatibility against the gateway and against the bare engine, side by side.

    python -m benchmarks.conformance --url http://127.0.0.1:8000 --bare unix:/tmp/engine.sock

Neither suite is ours, and their versions are pinned: llm-comply (PyPI) checks answers against OpenAI's published
schemas, compatcanary (npm) asks as an application would. Caveats: what a model says decides some tests, an answer that
ends by itself for instance, so that a round is luck with random weights; `--rounds` says how much. A skipped test is
not a passed one. Each request may take 300 s instead of the suites' 60 and 30. The streams of `/v1/responses` are the
engine's bytes, and fail with it.
"""
