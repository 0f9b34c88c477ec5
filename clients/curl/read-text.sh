#!/bin/sh
# Reads the words in a picture, with the box of every line.
# read-text.sh PICTURE
# Environment: QWENVL_URL (http://127.0.0.1:8000), QWENVL_API_KEY (none).
set -eu
url=${QWENVL_URL:-http://127.0.0.1:8000}

exec curl -sS --fail-with-body "$url/v1/read-text" ${QWENVL_API_KEY:+-H "Authorization: Bearer $QWENVL_API_KEY"} -F "image=@$1" -F level=line
