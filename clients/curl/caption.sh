#!/bin/sh
# Describes a picture.
# caption.sh PICTURE [short|normal|long]
# Environment: QWENVL_URL (http://127.0.0.1:8000), QWENVL_API_KEY (none).
set -eu
url=${QWENVL_URL:-http://127.0.0.1:8000}

exec curl -sS --fail-with-body "$url/v1/caption" ${QWENVL_API_KEY:+-H "Authorization: Bearer $QWENVL_API_KEY"} -F "image=@$1" --form-string "length=${2:-normal}"
