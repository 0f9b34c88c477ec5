"""OpenAI's `/v1/files` and `/v1/batches`: many requests in one file, answered when there is room, in one file back.

Everything is kept in a database (`database.py`: SQLite, or Postgres for several gateways), so that a gateway that is
killed loses nothing: what was answered stays answered, what was under way is asked again. `worker.py` does the work by
handing each line to the app itself (`inner.py`), so that a batch's request is checked, counted and limited as any
other; it stands behind all requests that somebody waits for.
"""
