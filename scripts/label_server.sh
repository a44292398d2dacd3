#!/usr/bin/env bash
# Start a MONAI Label server for a folder of images. --help tells all options.
#   scripts/label_server.sh --studies photos --modality dermoscopy
#   scripts/label_server.sh --install-only      make the environment, print the path of its Python, start nothing
# MONAI Label needs older packages than the rest (the extra `label` of pyproject.toml), so it has an environment of its
# own: .venv-label in the repository root, or the folder in COLDSTART_LABEL_ENV. It takes 8 GB and some minutes, once.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="${COLDSTART_LABEL_ENV:-$root/.venv-label}"
python="$venv/bin/python"

{ # all that pip says goes to stderr, so that a path or an address is the only thing on stdout
  if [[ ! -x "$python" ]]; then
    # MONAI Label imports distutils, which Python has up to 3.11.
    for base in python3.11 python3.10 python3; do
      "$base" -c "import distutils" 2>/dev/null && break
    done
    "$base" -m venv "$venv"
  fi
  # What the project needs and not the project itself: the code that runs is this clone's, whoever made the environment.
  wanted="$("$python" "$root/scripts/label_app/requirements.py")"
  done="$venv/installed-$(cksum <<<"$wanted" | cut -d' ' -f1)"
  if [[ ! -f "$done" ]]; then
    # The constraint reaches the build of a package from source too, which else fetches a second torch of 3 GB.
    grep '^torch' <<<"$wanted" >"$venv/constraint.txt"
    PIP_CONSTRAINT="$venv/constraint.txt" "$python" -m pip install -r /dev/stdin <<<"$wanted"
    touch "$done"
  fi
} >&2

if [[ "${1:-}" == --install-only ]]; then
  echo "$python"
  exit
fi
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m bundle.label.server "$@"
