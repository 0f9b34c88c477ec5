#!/bin/sh
# Makes an environment for recipes to be tried in, with the versions that they name: .cache/recipes/NAME.
# The tests (tests/clients/test_recipes.py) run the recipes that have one, and skip the others.
#
#   clients/recipes/setup.sh                       all
#   clients/recipes/setup.sh langchain_chat        one
set -eu
folder=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$(dirname -- "$folder")")
[ $# -gt 0 ] || set -- langchain_chat llamaindex_chat qwen_agent_chat docling_vlm vercel-ai

for name in "$@"; do
    environment=$root/.cache/recipes/$name
    mkdir -p "$environment"
    rm -f "$environment/.ready"
    echo "setting up $name" >&2
    case $name in
        vercel-ai)
            cp "$folder/vercel-ai/package.json" "$folder/vercel-ai/chat.mjs" "$environment/"
            (
                cd "$environment"
                npm install --no-fund --no-audit --loglevel=error
                # the AI SDK wants Node 22; where there is an older one, a newer comes as a package
                node -e 'process.exit(parseInt(process.versions.node) < 22)' ||
                    npm install --no-save --no-fund --no-audit --loglevel=error node@22
            )
            ;;
        *)
            "${PYTHON:-python3}" -m venv "$environment"
            sed -n 's/^ *pip install //p' "$folder/$name.py" | sed 's/ *#.*//' | tr ' ' '\n' > "$environment/requirements.txt"
            "$environment/bin/python" -m pip install -q --disable-pip-version-check -r "$environment/requirements.txt"
            ;;
    esac
    touch "$environment/.ready"
done
