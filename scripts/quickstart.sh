#!/usr/bin/env bash
# From a clone to a report: install into .venv and run `coldstart quickstart` with the arguments given.
#   scripts/quickstart.sh --out run
#   scripts/quickstart.sh --images photos --out run --budget 40
# Paths are meant from the folder that it is called in.
set -euo pipefail

python="$("$(dirname "${BASH_SOURCE[0]}")/install.sh")"
exec "${python%/*}/coldstart" quickstart "$@"
