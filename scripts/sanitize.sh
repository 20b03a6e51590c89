#!/usr/bin/env bash
# Builds the tests that need no LibTorch with a sanitizer and runs them.
#
#   scripts/sanitize.sh thread      ThreadSanitizer: communicators, communication thread, watchdog
#   scripts/sanitize.sh address     AddressSanitizer and UndefinedBehaviorSanitizer: parsers too
#
# The exit code is ctest's. Needs what scripts/setup.sh installs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests=(common_test collectives_test diagnosis_test checkpoint_test)
case ${1:-} in
  thread) preset=tsan ;;
  address) preset=asan tests+=(test_config test_data) ;;
  *) sed -n '4,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

cmake --preset "$preset" > /dev/null
# Only where nccl.h is found.
if ninja -C "build-$preset" -t query collectives_nccl_test > /dev/null 2>&1; then
  tests+=(collectives_nccl_test)
fi
ninja -C "build-$preset" "${tests[@]}"
names=$(IFS='|'; echo "${tests[*]}")
# ASan takes the first word: an allocation that fails is an error to be told, as without it.
ASAN_OPTIONS=allocator_may_return_null=1 \
  ctest --test-dir "build-$preset" -R "^($names)\$" --output-on-failure --no-tests=error -j 2
