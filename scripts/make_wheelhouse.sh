#!/usr/bin/env bash
# Collect in one folder every wheel of both environments, for an installation on a machine without internet.
#   scripts/make_wheelhouse.sh wheels               what scripts/install.sh and scripts/label_server.sh install
#   scripts/make_wheelhouse.sh wheels PYTHON ...    what the environments of these Pythons hold
# Run it on a machine with internet and with the system and the Python of the other one. There, with the folder copied:
#   PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels scripts/install.sh
#   PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels scripts/label_server.sh --install-only
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ $# -eq 0 || "$1" == -* ]]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit $(($# == 0 ? 2 : 0))
fi
wheels="$1"
shift

{ # all that pip says goes to stderr, so that the folder is the only line on stdout
  if [[ $# -eq 0 ]]; then
    set -- "$("$root/scripts/install.sh" test)" "$("$root/scripts/label_server.sh" --install-only)"
  fi
  mkdir -p "$wheels"
  for python in "$@"; do
    # What is installed and not what is asked for: these versions ran together. Both lists leave out this project.
    installed="$("$python" -m pip list --format=freeze --exclude-editable --exclude coldstart-segmentation)"
    # A package without a wheel is built here, against the torch of its environment: else pip fetches a second one.
    constraint="$(mktemp)"
    trap 'rm -f "$constraint"' EXIT
    grep '^torch==' <<<"$installed" >"$constraint" || true
    PIP_CONSTRAINT="$constraint" "$python" -m pip wheel --no-deps --wheel-dir "$wheels" -r /dev/stdin <<<"$installed"
    # The installation builds this project, for which pip wants these by their own names.
    "$python" -m pip wheel --wheel-dir "$wheels" "setuptools>=70" wheel pip
  done
} >&2

echo "$wheels"
