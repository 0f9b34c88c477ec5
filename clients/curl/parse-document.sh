#!/bin/sh
# Turns a PDF, TIFF or picture into Markdown, HTML with boxes, and blocks.
# parse-document.sh DOCUMENT [PAGES, such as 1-5,8]
# Environment: QWENVL_URL (http://127.0.0.1:8000), QWENVL_API_KEY (none).
set -eu
url=${QWENVL_URL:-http://127.0.0.1:8000}

document=$1
shift
exec curl -sS --fail-with-body "$url/v1/parse-document" ${QWENVL_API_KEY:+-H "Authorization: Bearer $QWENVL_API_KEY"} -F "document=@$document" ${1:+--form-string "pages=$1"}
