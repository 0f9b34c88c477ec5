#!/bin/sh
# Chooses the next action on a screen.
# act.sh SCREENSHOT TASK [computer|mobile]
# Environment: QVL_URL (http://127.0.0.1:8000), QVL_API_KEY (none).
set -eu
url=${QVL_URL:-http://127.0.0.1:8000}

exec curl -sS --fail-with-body "$url/v1/act" ${QVL_API_KEY:+-H "Authorization: Bearer $QVL_API_KEY"} -F "screenshot=@$1" --form-string "task=$2" --form-string "environment=${3:-computer}"
