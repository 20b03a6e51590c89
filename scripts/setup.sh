#!/usr/bin/env bash
# Brings a bare Debian 12 machine to where Enodia builds: Debian packages, and LibTorch in a per-user
# cache. With everything present it does nothing and touches no network.
#
#   scripts/setup.sh [--gpu] [--transformers] [PACKAGE...]
#
# --gpu                LibTorch's CUDA library and the libraries of NVIDIA that it needs, for
#                      run.device: cuda: 1.9 GB to download, 3.5 GB in the cache
# --transformers       Hugging Face's transformers too, which tests compare with: 2.5 GB to download,
#                      5 GB in the cache, one to two minutes
# PACKAGE              further Debian packages that the caller needs
#
# ENODIA_CACHE         where they are kept (default ~/.cache/enodia)
# CMAKE_PREFIX_PATH    a LibTorch of your own, used instead of the download
# ENODIA_SYSTEM_CUDA=0 takes the CUDA runtime libraries from PyPI even when the machine has them
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache git ca-certificates python3 python3-pip
  libopenmpi-dev openmpi-bin libyaml-cpp-dev libcli11-dev libspdlog-dev nlohmann-json3-dev
  libsentencepiece-dev libonig-dev libutf8proc-dev libxxhash-dev libgtest-dev libgmock-dev
  iproute2 util-linux  # scripts/netcluster.sh plays nodes
  coinor-cbc  # the replay policy lp
)
cache=${ENODIA_CACHE:-$HOME/.cache/enodia}
libtorch=$cache/libtorch-2.11.0
transformers=$cache/transformers-5.23.0
requirements=$(dirname "${BASH_SOURCE[0]}")/../tests/transformers/requirements.txt
gpu_requirements=$(dirname "${BASH_SOURCE[0]}")/gpu-requirements.txt

# Wheels by exact file: name==version and SHA-256. The CUDA ones are what torch 2.11.0 pins
# (cuda-toolkit 13.0.2); libtorch_cpu.so needs them at run time even on a machine without a GPU.
torch_wheel=(torch==2.11.0 7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a)
cudart_wheel=(nvidia-cuda-runtime==13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548)
cupti_wheel=(nvidia-cuda-cupti==13.0.85 4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8)

# Debian's own Python, whatever else is first in PATH: its pip comes with the packages above.
python=/usr/bin/python3
[[ -x $python || -n $(command -v dpkg-query) ]] || python=python3

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif command -v sudo > /dev/null; then
    sudo "$@"
  else
    fail "installing packages needs root and there is no sudo; as root: apt-get install ${missing[*]}"
  fi
}

install_packages() {
  if ! command -v dpkg-query > /dev/null; then
    say "this is not Debian or Ubuntu; provide the equivalents of: ${packages[*]}"
    return
  fi
  local status package
  missing=()
  status=$(dpkg-query -W -f '${db:Status-Abbrev}${binary:Package}\n' 2> /dev/null)
  for package in "$@"; do
    grep -Eq "^.i ${package//+/\\+}(:.*)?$" <<< "$status" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]}"
  as_root apt-get -q -o DPkg::Lock::Timeout=300 update
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}"
}

# download FOLDER REQUIREMENT SHA256: one wheel from PyPI, refused when its bytes are not the known ones.
download() {
  local folder=$1 requirement=$2 sum=$3 wheel
  say "downloading $requirement from PyPI"
  "$python" -m pip download --no-deps --only-binary=:all: --no-cache-dir --disable-pip-version-check \
    --python-version 3.11 --implementation cp --dest "$folder" "$requirement" >&2 ||
    fail "pip could not download $requirement; check the network and run this script again"
  wheel=$(ls "$folder"/*.whl)
  sha256sum --check --status <<< "$sum  $wheel" ||
    fail "$(basename "$wheel") does not have the expected SHA-256 $sum; it was not used"
}

# unpack WHEEL FOLDER PREFIX...: the wheel's files whose names start with one of the prefixes.
unpack() {
  "$python" - "$@" << 'PYTHON'
import sys, zipfile
wheel, folder, *prefixes = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(folder, [n for n in archive.namelist() if n.startswith(tuple(prefixes))])
PYTHON
}

has_own_libtorch() {
  local prefix
  local IFS=:
  for prefix in ${CMAKE_PREFIX_PATH:-}; do
    [[ -e $prefix/lib/libtorch_cpu.so && -e $prefix/include/ATen/core/Tensor.h ]] && return
  done
  return 1
}

# A rename makes the unpacked folder appear whole or not at all.
install_libtorch() {
  [[ $(uname -m) == x86_64 ]] ||
    fail "only x86_64 machines are supported so far (this one is $(uname -m)); on another, set CMAKE_PREFIX_PATH to a LibTorch 2.11 of your own"
  local work=$cache/unpacking
  rm -rf "$work"
  mkdir -p "$work"
  download "$work" "${torch_wheel[@]}"
  say "unpacking LibTorch into $libtorch"
  unpack "$work"/torch-*.whl "$work/libtorch" torch/include/ \
    torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/lib/libgomp.so.1
  rm -rf "$libtorch"
  mv "$work/libtorch" "$libtorch"
  rm -rf "$work"
}

system_cuda_library() {
  [[ ${ENODIA_SYSTEM_CUDA:-1} != 0 ]] || return 1
  local candidate
  for candidate in /usr/local/cuda*/{lib64,targets/x86_64-linux/lib,extras/CUPTI/lib64}/"$1" \
    $(PATH=$PATH:/sbin:/usr/sbin ldconfig -p | awk -v name="$1" '$1 == name && /x86-64/ {print $NF}'); do
    if [[ -e $candidate ]]; then
      readlink -f "$candidate"
      return
    fi
  done
  return 1
}

# install_cuda_library NAME REQUIREMENT SHA256: where the RPATH of libtorch_cpu.so looks for it.
install_cuda_library() {
  local name=$1 folder=$libtorch/nvidia/cu13/lib work=$cache/unpacking found
  [[ ! -e $folder/$name ]] || return 0
  mkdir -p "$folder"
  if found=$(system_cuda_library "$name"); then
    ln -sfn "$found" "$folder/$name"
    return
  fi
  rm -rf "$work"
  mkdir -p "$work"
  download "$work" "$2" "$3"
  unpack "$work"/*.whl "$work/wheel" nvidia/cu13/lib/
  mv -f "$work/wheel/nvidia/cu13/lib/$name" "$folder/$name"
  rm -rf "$work"
}

# Where the RPATH of libtorch_cuda.so looks for them. The library itself comes last: it is the mark.
install_gpu() {
  local work=$cache/unpacking
  rm -rf "$work"
  mkdir -p "$work/temporary"
  download "$work" "${torch_wheel[@]}"
  say "unpacking LibTorch's CUDA library into $libtorch"
  unpack "$work"/torch-*.whl "$work/libtorch" torch/lib/libtorch_cuda torch/lib/libc10_cuda.so \
    torch/lib/libtorch_nvshmem.so torch/lib/libcaffe2_nvrtc.so
  rm "$work"/torch-*.whl
  say "downloading NVIDIA's libraries from PyPI"
  TMPDIR=$work/temporary "$python" -m pip install --target "$work/gpu" --requirement "$gpu_requirements" \
    --no-deps --only-binary=:all: --no-cache-dir --quiet --disable-pip-version-check \
    --python-version 3.11 --implementation cp --root-user-action=ignore >&2 ||
    fail "pip could not install $gpu_requirements; check the network and the disk and run this script again"
  cp -a --remove-destination "$work/gpu/nvidia/." "$libtorch/nvidia/"
  mv "$work/libtorch/torch/lib/libtorch_cuda.so" "$work"
  mv "$work/libtorch/torch/lib/"* "$libtorch/torch/lib/"
  mv "$work/libtorch_cuda.so" "$libtorch/torch/lib/"
  rm -rf "$work"
}

# Packages for one interpreter, named in the file `python` beside them: compiled ones fit no other.
install_transformers() {
  local work=$cache/unpacking
  rm -rf "$work"
  mkdir -p "$work/temporary"
  say "installing transformers into $transformers (5 GB, one to two minutes)"
  # pip unpacks in TMPDIR first; a small /tmp would not hold it.
  TMPDIR=$work/temporary "$python" -m pip install --target "$work/transformers" --requirement "$requirements" \
    --no-deps --only-binary=:all: --no-cache-dir --quiet --disable-pip-version-check \
    --root-user-action=ignore >&2 ||
    fail "pip could not install $requirements; check the network and the disk and run this script again"
  "$python" -c 'import sys; print(sys.executable)' > "$work/transformers/python"
  rm -rf "$transformers"
  mv "$work/transformers" "$transformers"
  rm -rf "$work"
}

lock_cache() {
  mkdir -p "$cache"
  exec 9> "$cache/lock"
  flock --nonblock 9 || { say "waiting for another set-up to finish" && flock 9; }
}

with_transformers=0
with_gpu=0
while [[ ${1:-} == --* ]]; do
  case $1 in
    --transformers) with_transformers=1 ;;
    --gpu) with_gpu=1 ;;
    *) fail "unknown option $1; see the first lines of this script" ;;
  esac
  shift
done
install_packages "${packages[@]}" "$@"
if ! has_own_libtorch; then
  lock_cache
  [[ -e $libtorch/torch/lib/libtorch_cpu.so ]] || install_libtorch
  install_cuda_library libcudart.so.13 "${cudart_wheel[@]}"
  install_cuda_library libcupti.so.13 "${cupti_wheel[@]}"
  if ((with_gpu)) && [[ ! -e $libtorch/torch/lib/libtorch_cuda.so ]]; then
    install_gpu
  fi
fi
if ((with_transformers)); then
  lock_cache
  [[ -e $transformers/python ]] || install_transformers
fi
