#!/usr/bin/env bash
# Make .venv in the repository root with this project in it, and print the path of its Python.
#   scripts/install.sh [EXTRA]      EXTRA is an extra of pyproject.toml, such as test
# What is there already stays: run it again after a change of pyproject.toml, or at every start; it then costs nothing.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
extra="${1:-}"
venv="$root/.venv"
python="$venv/bin/python"
done="$venv/installed${extra:+-$extra}"

{ # all that pip says goes to stderr, so that the path is the only line on stdout
  if [[ ! -x "$python" ]]; then
    # Debian splits ensurepip off python3; there the machine's own pip fills the environment.
    python3 -m venv "$venv" || {
      python3 -m venv --clear --without-pip "$venv"
      python3 -m pip --python "$python" install pip
    }
  fi
  if ! "$python" -c "import torch" 2>/dev/null; then
    # The release that the shipped weights and figures were made with. For a CPU build on a machine without GPU point
    # PIP_EXTRA_INDEX_URL to https://download.pytorch.org/whl/cpu; a torch that is in .venv already is left alone.
    "$python" -m pip install "torch==2.13.0"
  fi
  if [[ ! "$done" -nt "$root/pyproject.toml" ]]; then
    "$python" -m pip install -e "$root${extra:+[$extra]}"
    touch "$done"
  fi
} >&2

echo "$python"
