#!/bin/sh
# Finds facts in a picture, as JSON valid against a schema.
# extract.sh PICTURE SCHEMA.json
# Environment: QWENVL_URL (http://127.0.0.1:8000), QWENVL_API_KEY (none).
set -eu
url=${QWENVL_URL:-http://127.0.0.1:8000}

exec curl -sS --fail-with-body "$url/v1/extract" ${QWENVL_API_KEY:+-H "Authorization: Bearer $QWENVL_API_KEY"} -F "image=@$1" -F "schema=<$2"
