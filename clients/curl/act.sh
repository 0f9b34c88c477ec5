#!/bin/sh
# Chooses the next action on a screen.
# act.sh SCREENSHOT TASK [computer|mobile]
# Environment: QWENVL_URL (http://127.0.0.1:8000), QWENVL_API_KEY (none).
set -eu
url=${QWENVL_URL:-http://127.0.0.1:8000}

exec curl -sS --fail-with-body "$url/v1/act" ${QWENVL_API_KEY:+-H "Authorization: Bearer $QWENVL_API_KEY"} -F "screenshot=@$1" --form-string "task=$2" --form-string "environment=${3:-computer}"
