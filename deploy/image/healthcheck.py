"""The gateway's health check: exit 0 when it answers. Standard library only, because the image has no curl.

python -S healthcheck.py [PATH]    /healthz unless another path is named; the port is QVL_PORT
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_S = 4


def main(path: str = "/healthz") -> int:
    """0 if `path` answers 200, else 1 and why on standard error."""
    connection = HTTPConnection("127.0.0.1", int(os.environ.get("QVL_PORT", "8000")), timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, HTTPException) as exc:
        sys.stderr.write(f"{path}: {exc}\n")
        return 1
    finally:
        connection.close()
    if status != 200:
        sys.stderr.write(f"{path}: status {status}\n")
    return int(status != 200)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
