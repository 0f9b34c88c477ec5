"""A task over a manifest of pictures, clips or documents: from a laptop to a Ray cluster, without HTTP in between.

    python -m server.bulk --task detect --manifest in.jsonl --out out/ --engine-url http://127.0.0.1:8001
    python -m server.bulk ... --ray auto --workers 16       the same on a Ray cluster
    scripts/bulk ... --model demo/checkpoint                vLLM in each worker's own process (`inside`)

The manifest is JSON Lines or Parquet with an `id` and the task's own fields a row; files are named by path or URL. It
is cut into shards of so many rows, and each gives one Parquet file, written whole or not at all: a run that is killed
goes on with the shards that are missing, and a second run of the same does nothing. A row that fails is a row with an
error, and costs no other. What a row goes through is what it goes through online: `answering.runs.TaskRun`.
"""
