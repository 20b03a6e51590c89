#!/usr/bin/env bash
# Runs scripts/gpu_check.sh with the double's library in the place of NCCL and CUDA and a nvidia-smi
# that lists one GPU: the last line is PASS. Without that nvidia-smi it is SKIPPED, with code 77.
#
#   gpu_check_test.sh SOURCE_DIR BUILD_DIR FAKE_LIBRARY CUDART_NAME
set -euo pipefail

source=$1 build=$2 library=$3 cudart=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ln -s "$library" "$folder/libnccl.so.2"
ln -s "$library" "$folder/$cudart"
printf '#!/bin/sh\n%s\n' 'test "$1" = --list-gpus && echo "GPU 0: a fake (UUID: none)"' > "$folder/nvidia-smi"
chmod +x "$folder/nvidia-smi"

LD_LIBRARY_PATH=$folder PATH=$folder:$PATH "$source/scripts/gpu_check.sh" "$build" > "$folder/log" 2>&1 ||
  { cat "$folder/log"; exit 1; }
tail -n 1 "$folder/log"
[[ $(tail -n 1 "$folder/log") == "PASS: the NCCL backend on 1 GPU(s), worlds of 1; parity was skipped, see above" ]]

printf '#!/bin/sh\nexit 9\n' > "$folder/nvidia-smi"
code=0
PATH=$folder:$PATH "$source/scripts/gpu_check.sh" "$build" > "$folder/log" 2>&1 || code=$?
tail -n 1 "$folder/log"
((code == 77)) && [[ $(tail -n 1 "$folder/log") == SKIPPED:* ]]
