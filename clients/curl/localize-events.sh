#!/bin/sh
# Says what happens when in a video, or when something happens.
# localize-events.sh VIDEO [QUERY]
# Environment: QWENVL_URL (http://127.0.0.1:8000), QWENVL_API_KEY (none).
set -eu
url=${QWENVL_URL:-http://127.0.0.1:8000}

video=$1
shift
exec curl -sS --fail-with-body "$url/v1/localize-events" ${QWENVL_API_KEY:+-H "Authorization: Bearer $QWENVL_API_KEY"} -F "video=@$video" ${1:+--form-string "query=$1"}
