#!/usr/bin/env bash
# Runs a Python program with the packages that scripts/setup.sh --transformers installs, away from
# any network. Exits with 77, "skipped", when they are not there.
#
#   tests/transformers/with_transformers.sh SCRIPT [ARGUMENT...]
set -euo pipefail

packages=${ENODIA_CACHE:-$HOME/.cache/enodia}/transformers-5.23.0
if [[ ! -e $packages/python ]]; then
  echo "skipped: transformers is not in $packages; scripts/setup.sh --transformers installs it" >&2
  exit 77
fi
export PYTHONPATH=$packages HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 OMP_NUM_THREADS=1
exec "$(< "$packages/python")" -B "$@"
