#!/bin/sh
# Finds things in a picture, each as soon as the model has written it: server-sent events.
# detect-stream.sh PICTURE DESCRIPTION
# Environment: QWENVL_URL (http://127.0.0.1:8000), QWENVL_API_KEY (none).
set -eu
url=${QWENVL_URL:-http://127.0.0.1:8000}

exec curl -sSN --fail-with-body "$url/v1/detect" ${QWENVL_API_KEY:+-H "Authorization: Bearer $QWENVL_API_KEY"} -F "image=@$1" --form-string "prompt=$2" -F stream=true
