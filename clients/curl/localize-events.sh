#!/bin/sh
# Says what happens when in a video, or when something happens.
# localize-events.sh VIDEO [QUERY]
# Environment: QVL_URL (http://127.0.0.1:8000), QVL_API_KEY (none).
set -eu
url=${QVL_URL:-http://127.0.0.1:8000}

video=$1
shift
exec curl -sS --fail-with-body "$url/v1/localize-events" ${QVL_API_KEY:+-H "Authorization: Bearer $QVL_API_KEY"} -F "video=@$video" ${1:+--form-string "query=$1"}
