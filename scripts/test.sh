#!/usr/bin/env bash
# Everything that must hold before a change goes in: lint, format, types, tests.
#   scripts/test.sh [PYTEST ARGUMENTS]      such as -k warm_start, or tests/run
# Tests of the real images run where ../shared/data or $COLDSTART_DATA holds them, those of the MONAI Label server with
# COLDSTART_LABEL_TESTS=1.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$("$root/scripts/install.sh" test)"
cd "$root"

without_real="" with_label=""
[[ -d "${COLDSTART_DATA:-../shared/data}/dermoscopy" ]] || without_real=" and not real"
if [[ "${COLDSTART_LABEL_TESTS:-}" == 1 ]]; then
  with_label=1
  archive=(orthanc orthanc-dicomweb dicom3tools)  # a local PACS, and a checker of DICOM objects
  if command -v apt-get >/dev/null && [[ $EUID == 0 ]] && ! dpkg -s "${archive[@]}" >/dev/null 2>&1; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes "${archive[@]}"; } >&2 \
      || echo "without ${archive[*]} the tests of the archive are skipped" >&2
  fi
  label_python="$("$root/scripts/label_server.sh" --install-only)"
  "$label_python" -m pip install --quiet hypothesis pytest >&2  # the stages are tested on its older packages too
  export PATH="$PATH:$(dirname "$label_python")"                # it has dcmqi, which reads segmentations back
fi

"$python" -m ruff check
"$python" -m ruff format --check
"$python" -m mypy

# A process a core, a file of tests at a time, since tests of one file share what they make. Those of the server come
# after the others and one by one: each starts processes of its own, which answer late on a machine that is busy.
status=5  # pytest's own where no test was chosen
suite() {
  local code=0
  "$python" -m pytest "$@" || code=$?
  if [[ $code != 5 && ($status == 5 || $status == 0) ]]; then status=$code; fi
}
suite -n auto --dist loadfile -m "not label${without_real}" "$@"
[[ -z "$with_label" ]] || suite -m "label${without_real}" "$@"
exit "$status"
