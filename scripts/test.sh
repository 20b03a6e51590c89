#!/usr/bin/env bash
# Sets the machine up, with transformers to compare with, builds everything and runs every test.
#
#   scripts/test.sh [--fast]           --fast leaves out the tests labelled slow, and does not install
#                                      transformers
#
# The exit code is that of ctest; the last line is "N passed, N failed".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

filter=()
peers=(--transformers)
for argument in "$@"; do
  case $argument in
    --fast) filter=(--label-exclude slow) peers=() ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done

scripts/setup.sh "${peers[@]}"
scripts/build.sh
scripts/slowest_files.py build
echo

# Tests of several ranks declare two processors each, so that -j does not overload the machine.
log=build/Testing/last_run.log
mkdir -p "$(dirname "$log")"
code=0
(cd build && ctest --output-on-failure --no-tests=error -j "$(nproc)" "${filter[@]}" < /dev/null) |
  tee "$log" || code=$?

# ctest counts skipped tests as passed; "(Skipped)" marks them in its closing list.
read -r failed total < <(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\)$/\1 \2/p' "$log") ||
  { failed=0 total=0; }
skipped=$(sed -n '/^The following tests did not run:/,$p' "$log" | grep -c '(Skipped)$' || true)
((total > 0)) || code=8
echo
echo "$((total - failed - skipped)) passed, $failed failed$( ((skipped == 0)) || echo ", $skipped skipped")"
exit "$code"
