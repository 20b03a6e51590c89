#!/usr/bin/env bash
# Plays a cluster on this machine for one command: network namespaces as nodes, links of a chosen
# rate between them, shared memory inside a node, and mpirun across them.
#
#   scripts/netcluster.sh --nodes N --ranks-per-node R [--rate RATE] [--counters FILE]
#                         [--mpirun-args "ARGS"] -- PROGRAM [ARGUMENT...]
#
#   scripts/netcluster.sh --nodes 4 --ranks-per-node 4 --rate 200mbit --counters links.json -- \
#     build/enodia train CONFIG --set run.dir=runs/played
#
# --rate           of each node's link to the switch between them, in each direction, as tc writes
#                  it (200mbit, 1gbit); none, the default, is as fast as the kernel moves bytes
# --counters       bytes that each node has sent and received, as its interface counted them, JSON
#
# The exit code is mpirun's; 2 = wrong options, 77 = this machine lets nobody play nodes. Nodes have
# no names outside and live in processes of one `unshare`: they end with the command, with Ctrl-C
# or SIGTERM, and also when this script is killed (kill -9). Nothing is saved then.
set -euo pipefail

help() { sed -n '5,19s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
usage() {
  echo "netcluster: $*" >&2
  help >&2
  exit 2
}
cannot() {
  echo "netcluster: $*" >&2
  exit 77
}

network=10.213.77  # addresses that exist in the namespaces alone
address() { echo "$network.$((10 + $1))"; }

# ---- Inside, where all is gone when this process ends: the switch, and the nodes beside it.

# A tbf lets through what it is given slowly; what waits for it is at most `latency` old.
shape() {
  [[ $rate == none ]] || tc qdisc add dev "$1" root tbf rate "$rate" burst 64kb latency 400ms
}

# begin_node NUMBER: a process that does nothing keeps the node's namespaces.
begin_node() {
  local number=$1 process ready
  exec {ready}< <(exec unshare --net --uts --mount -- sh -c '
    hostname "$0" && ip link set lo up && mount -t tmpfs tmpfs /dev/shm && echo ready
    exec sleep infinity' "node$number")
  process=$!
  read -r -u "$ready" || cannot "node $number has no memory of its own; a kernel that lets root mount tmpfs is needed"
  ip link add "port$number" type veth peer name link0 netns "$process"
  ip link set "port$number" master switch up
  in_node "$process" ip addr add "$(address "$number")/24" dev link0
  in_node "$process" ip link set link0 up
  shape "port$number"
  export -f shape
  rate=$rate in_node "$process" bash -c 'shape link0'
  node_processes+=("$process")
}

# in_node PROCESS COMMAND...: in the namespaces that PROCESS keeps, in the same folder.
in_node() {
  local process=$1
  shift
  nsenter --target "$process" --net --uts --mount -- bash -c 'cd "$0" && exec "$@"' "$PWD" "$@"
}

write_counters() {
  ip -s -j link show type veth | python3 -c '
import json, sys
ports = {port["ifname"]: port["stats64"] for port in json.load(sys.stdin)}
links = [{"node": number, "sent_bytes": ports[f"port{number}"]["rx"]["bytes"],
          "received_bytes": ports[f"port{number}"]["tx"]["bytes"]} for number in range(len(ports))]
json.dump({"rate": sys.argv[1], "seconds": int(sys.argv[2]), "links": links}, open(sys.argv[3], "w"), indent=1)
' "$rate" "$SECONDS" "$counters"
}

play() {
  node_processes=()
  ip link add switch type bridge && ip link set switch up ||
    cannot "the kernel has no bridge between nodes; load it with: modprobe bridge"
  local hosts=() code=0
  for ((number = 0; number < nodes; number++)); do
    begin_node "$number"
    hosts+=("$(address "$number"):$ranks_per_node")
  done
  export NETCLUSTER_PROCESSES="${node_processes[*]}"
  in_node "${node_processes[0]}" "${mpirun[@]}" --host "$(IFS=, && echo "${hosts[*]}")" "$@" < /dev/null || code=$?
  [[ -z $counters ]] || write_counters
  exit "$code"
}

# Open MPI starts a node's daemon by AGENT HOST COMMAND, as if by ssh.
agent() {
  local host=$1 processes
  shift
  read -ra processes <<< "$NETCLUSTER_PROCESSES"
  in_node "${processes[$((${host##*.} - 10))]}" sh -c "$*"
}

# ---- Outside: options, and what this machine must have.

self=$(readlink -f "${BASH_SOURCE[0]}")
if [[ ${1:-} == --agent ]]; then
  shift
  agent "$@"
  exit
fi
inside=0
if [[ ${1:-} == --inside ]]; then
  inside=1
  shift
fi

nodes= ranks_per_node= rate=none counters=
extra=()
given=("$@")
while [[ ${1:-} == -* && $1 != -- ]]; do
  case $1 in
    -h | --help) help; exit ;;
    --nodes | --ranks-per-node | --rate | --counters | --mpirun-args) (($# > 1)) || usage "$1 needs a value" ;;
    *) usage "unknown option '$1'; the program comes after --" ;;
  esac
  case $1 in
    --nodes) nodes=$2 ;;
    --ranks-per-node) ranks_per_node=$2 ;;
    --rate) rate=$2 ;;
    --counters) counters=$2 ;;
    --mpirun-args) read -ra extra <<< "$2" ;;
  esac
  shift 2
done
[[ $nodes =~ ^[1-9][0-9]*$ ]] && ((nodes <= 200)) || usage "--nodes must be a number from 1 to 200, not '$nodes'"
[[ $ranks_per_node =~ ^[1-9][0-9]*$ ]] || usage "--ranks-per-node must be a number, 1 or more, not '$ranks_per_node'"
[[ $rate =~ ^(none|[1-9][0-9]*(\.[0-9]+)?[kmg]?bit)$ ]] || usage "--rate must be none or a rate such as 200mbit, not '$rate'"
[[ ${1:-} == -- && $# -gt 1 ]] || usage "no program given; it comes after --, for example: -- build/enodia train CONFIG"
shift

mpirun=(mpirun --quiet -n $((nodes * ranks_per_node)) --map-by "ppr:$ranks_per_node:node" --bind-to none
  # A node's session folder and shared memory go with the node. More ranks than cores are ordinary here.
  --mca orte_tmpdir_base /dev/shm --mca mpi_yield_when_idle 1
  --mca plm_rsh_agent "$self --agent" --mca plm_rsh_no_tree_spawn 1
  --mca pml ob1 --mca btl "self,vader,tcp"
  --mca btl_tcp_if_include "$network.0/24" --mca oob_tcp_if_include "$network.0/24" "${extra[@]}")
((inside)) && play "$@"

for tool in ip tc unshare nsenter setpriv mpirun python3; do
  command -v "$tool" > /dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$tool" > /dev/null ||
    cannot "there is no '$tool' to play nodes with; run scripts/setup.sh"
done
export PATH=$PATH:/usr/sbin:/sbin OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# Whoever is not root becomes it in a user namespace, where the kernel allows that.
space=(unshare --mount --net --uts --pid --fork --kill-child --mount-proc)
[[ $(id -u) == 0 ]] || space+=(--user --map-root-user)
"${space[@]}" -- ip link add try0 type veth peer name try1 2> /dev/null ||
  cannot "this machine lets user $(id -un) make no network namespaces; run as root, in a container with --privileged," \
    "or allow them with: sysctl kernel.unprivileged_userns_clone=1"
[[ $rate == none ]] || "${space[@]}" -- sh -c 'ip link set lo up && tc qdisc add dev lo root tbf rate 1mbit burst 64kb latency 1ms' \
  2> /dev/null || cannot "the kernel cannot slow a link down; load the module with: modprobe sch_tbf, or leave out --rate"

# The namespaces end with their first process, and that with `unshare`, and that with this script.
setpriv --pdeathsig KILL "${space[@]}" -- bash "$self" --inside "${given[@]}" &
cluster=$!
trap 'kill -KILL "$cluster" 2> /dev/null || true' TERM INT HUP
code=0
wait "$cluster" || code=$?
if ((code > 128)); then
  wait "$cluster" 2> /dev/null || true
  echo "netcluster: ended by a signal, and all that it had begun" >&2
fi
exit "$code"
