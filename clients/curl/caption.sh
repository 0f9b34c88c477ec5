#!/bin/sh
# Describes a picture.
# caption.sh PICTURE [short|normal|long]
# Environment: QVL_URL (http://127.0.0.1:8000), QVL_API_KEY (none).
set -eu
url=${QVL_URL:-http://127.0.0.1:8000}

exec curl -sS --fail-with-body "$url/v1/caption" ${QVL_API_KEY:+-H "Authorization: Bearer $QVL_API_KEY"} -F "image=@$1" --form-string "length=${2:-normal}"
