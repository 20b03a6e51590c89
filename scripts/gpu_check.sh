#!/usr/bin/env bash
# Checks on the GPUs of this machine: the queue of a device, the contract of communicators over NCCL
# with one rank per GPU (one GPU: a world of one), and, after scripts/setup.sh --gpu, that every
# layout trains on a GPU as the reference does.
#
#   scripts/gpu_check.sh [BUILD_DIR]     build/ when not given
#
# The last line is PASS, FAIL or SKIPPED with the reason; the exit code 0, 1 or 77. Without a GPU, or
# in a build without nccl.h, it is SKIPPED. ENODIA_GPU_CHECK_TIMEOUT (300 s) ends what hangs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${1:-build}
limit=${ENODIA_GPU_CHECK_TIMEOUT:-300}

end() {
  echo "$1: $2"
  case $1 in PASS) exit 0 ;; SKIPPED) exit 77 ;; *) exit 1 ;; esac
}

gpus=0
if command -v nvidia-smi > /dev/null; then
  gpus=$(nvidia-smi --list-gpus 2> /dev/null | grep -c '^GPU ' || true)
fi
((gpus > 0)) || end SKIPPED "this machine has no GPU (nvidia-smi lists none); nothing was run on one"
[[ -f $build/build.ninja ]] || end FAIL "$build is not configured; run scripts/build.sh first"
ninja -C "$build" -t query nccl_gpu_check > /dev/null 2>&1 ||
  end SKIPPED "$build was configured without nccl.h; configure with -DENODIA_WITH_NCCL=ON"

ninja -C "$build" nccl_gpu_check parity_gpu_check
for library in /usr/local/cuda/lib64 /usr/local/cuda/lib; do
  [[ -d $library ]] && LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}${LD_LIBRARY_PATH:+:}$library
done
export LD_LIBRARY_PATH OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none

code=0
if [[ -x $build/collectives/enodia_nccl_link_check ]]; then
  timeout "$limit" "$build/collectives/enodia_nccl_link_check" || code=$?
  ((code == 0 || code == 77)) || end FAIL "the linked libraries (code $code)"
fi
# A world of one first: it says more about a broken machine.
worlds=(1)
((gpus == 1)) || worlds+=("$gpus")
for ranks in "${worlds[@]}"; do
  code=0
  timeout "$limit" mpirun -np "$ranks" "$build/tests/collectives/nccl_gpu_check" || code=$?
  ((code != 77)) || end SKIPPED "no rank found a usable device, see above"
  ((code != 124)) || end FAIL "$ranks ranks did not end within $limit s"
  ((code == 0)) || end FAIL "$ranks ranks (code $code)"
done
code=0
timeout "$((3 * limit))" "$build/tests/parity/parity_gpu_check" || code=$?
case $code in
  0) end PASS "the NCCL backend on $gpus GPU(s), worlds of ${worlds[*]}; parity of all layouts on one" ;;
  77) end PASS "the NCCL backend on $gpus GPU(s), worlds of ${worlds[*]}; parity was skipped, see above" ;;
  124) end FAIL "parity did not end within $((3 * limit)) s" ;;
  *) end FAIL "parity on a GPU (code $code)" ;;
esac
