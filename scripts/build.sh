#!/usr/bin/env bash
# Configures build/ (Ninja, Release unless configured otherwise before) and builds it.
#
#   scripts/build.sh [TARGET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[[ -e build/build.ninja ]] || cmake --preset release
ninja -C build "$@"
