#!/usr/bin/env bash
# Proves the set-up on a machine where nothing is installed: a minimal Debian 12 in FOLDER, which
# sees no CUDA and none of this machine's packages or caches, and in it a clone of the last commit.
#
#   sudo scripts/bare_machine.sh FOLDER [COMMAND...]      default: scripts/setup.sh, then again offline
#
# Needs debootstrap. Started again it takes a new clone into the same machine; remove FOLDER for a
# fresh one.
set -euo pipefail
(($# > 0)) || { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$1
shift

if [[ ! -e $folder/etc/debian_version ]]; then
  debootstrap --variant=minbase bookworm "$folder"
  # This machine's mirrors and certificates, for networks that need their own.
  for path in /etc/hosts /etc/resolv.conf /etc/pip.conf /etc/apt/apt.conf.d /usr/local/share/ca-certificates; do
    [[ ! -e $path ]] || cp -rT "$path" "$folder$path"
  done
fi
rm -rf "$folder/opt/enodia"
git clone --quiet --no-hardlinks . "$folder/opt/enodia"

# run NAMESPACES COMMAND: in the bare machine; its mounts end with it.
run() {
  # shellcheck disable=SC2016
  unshare "$1" --mount bash -c '
    mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount --rbind /sys "$0/sys"
    cd "$0/opt/enodia" || exit
    exec env -i HOME=/root TERM="${TERM:-dumb}" PATH=/usr/sbin:/usr/bin:/sbin:/bin \
      chroot "$0" bash -c "cd /opt/enodia && exec \"\$@\"" bash "$@"' "$folder" "${@:2}"
}
if (($# > 0)); then
  run --uts "$@"
else
  run --uts scripts/setup.sh
  echo "== again, offline"
  run --net scripts/setup.sh
fi
