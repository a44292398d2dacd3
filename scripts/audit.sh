#!/usr/bin/env bash
# Ask the public database of advisories (PyPI's) about every package that is installed.
#   scripts/audit.sh
# Ends with code 1 where a package has a known hole, or where nothing is known of one (a mirror may hold packages and no
# advisories). Without the network nothing can be asked: this says so and ends with code 3; the bounds in pyproject.toml,
# which keep out what was known when they were written, are tested offline (tests/test_security.py).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$("$root/scripts/install.sh" test)"
tool="$root/.venv/audit" # of its own: what audits should not change what is audited

if [[ ! -x "$tool/bin/pip-audit" ]]; then
  "$python" -m venv "$tool" >&2
  "$tool/bin/python" -m pip install --quiet pip-audit >&2 || {
    echo "audit: pip-audit cannot be installed here, so nothing was asked" >&2
    exit 3
  }
fi
found="$(mktemp)"
trap 'rm -f "$found"' EXIT
"$python" -m pip list --format freeze --exclude-editable | sed 's/+[^=]*$//' >"$found"
"$tool/bin/python" - <<'PROBE' || { echo "audit: pypi.org cannot be reached, so nothing was asked" >&2 && exit 3; }
import urllib.request
urllib.request.urlopen("https://pypi.org/pypi/pip/json", timeout=10)
PROBE
exec "$tool/bin/pip-audit" --requirement "$found" --no-deps --disable-pip --strict
