"""Where connections and requests come in and go out: HTTP/1.1 on uvicorn's protocol, bodies, ids, leaving in order."""
