#!/usr/bin/env bash
# Formats the C++ sources with clang-format 14, the version that .clang-format is written for.
#
#   scripts/format.sh [--check] [FILE...]
#
#   --check   changes nothing; lists what is not formatted and exits 1
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=(-i)
if [[ ${1:-} == --check ]]; then
  mode=(--dry-run --Werror)
  shift
fi
command -v clang-format-14 > /dev/null || scripts/setup.sh clang-format-14
files=("$@")
((${#files[@]})) || mapfile -t files < <(git ls-files -co --exclude-standard '*.h' '*.cpp')
clang-format-14 "${mode[@]}" "${files[@]}"
