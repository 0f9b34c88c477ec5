#!/bin/sh
# Finds things in a picture: boxes in the pixels of the file, as JSON.
# detect.sh PICTURE LABEL...
# Environment: QWENVL_URL (http://127.0.0.1:8000), QWENVL_API_KEY (none).
set -eu
url=${QWENVL_URL:-http://127.0.0.1:8000}

picture=$1
shift
for label in "$@"; do
    shift
    set -- "$@" --form-string "labels=$label"
done
exec curl -sS --fail-with-body "$url/v1/detect" ${QWENVL_API_KEY:+-H "Authorization: Bearer $QWENVL_API_KEY"} -F "image=@$picture" "$@"
