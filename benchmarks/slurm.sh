#!/usr/bin/env bash
# Proof with a real Slurm, on one machine and without a GPU, that queued protocols get the GPUs that
# the scheduler gives them:  sudo benchmarks/slurm.sh      (needs "make test" or its environment)
#
# It needs root and Debian's packages slurm-wlm and munge, which it installs where they are missing
# (they stay, and Debian may start a service for munge). Everything else is in a temporary folder
# that is removed at the end, as are all processes: a key and a socket of munge, a Slurm on two
# ports of its own and the loopback interface, with one node that has four CPUs and two GPUs. The
# GPUs are character devices that nobody opens; so the engine is one that notes what it was given
# and then runs on the CPU. A Slurm or munge that runs already is not touched.
#
#   PYTHON=...  another interpreter than .venv/bin/python
#   KEEP=1      keep the folder, for its logs
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON="$(realpath -s "${PYTHON:-.venv/bin/python}")"
CONTROLLER_PORT=26817
NODE_PORT=26818

fail() { echo "slurm.sh: $*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || fail "slurmd, munged and mknod need root: run it with sudo"
[ -x "$PYTHON" ] || fail "$PYTHON is missing: run 'make environment' first, or set PYTHON"

for program in slurmctld slurmd sbatch munged; do
    command -v "$program" >/dev/null && continue
    echo "Installing slurm-wlm and munge with apt-get"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 slurm-wlm munge >/dev/null
    break
done

FOLDER="$(mktemp -d "${TMPDIR:-/tmp}/dual-slurm-XXXXXX")"
# Started with setsid: Ctrl-C does not reach them, and "stop" ends them one after the other.
PIDS=()  # the daemons
RUN=""   # the protocols, a group of processes

stop() {
    local status=$? pid
    trap - EXIT INT TERM
    [ -z "$RUN" ] || kill -KILL -- "-$RUN" 2>/dev/null || true
    # The jobs while the daemons still live; squeue lists them until their processes are gone.
    scancel --user=root >/dev/null 2>&1 || true
    for _ in $(seq 30); do
        [ -n "$(squeue -h 2>/dev/null)" ] || break
        sleep 1
    done
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${PIDS[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [ -n "${KEEP:-}" ]; then echo "Kept: $FOLDER"; else rm -rf "$FOLDER"; fi
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# munged insists on a folder that everybody may enter and only its owner may write to.
chmod 755 "$FOLDER"
mkdir -p "$FOLDER"/{munge,state,spool,devices,scipion}
(umask 077 && head -c 1024 /dev/urandom >"$FOLDER/munge/key")
for number in 0 1; do mknod "$FOLDER/devices/nvidia$number" c 1 3; done

NODE="$(hostname -s)"
export SLURM_CONF="$FOLDER/slurm.conf"
cat >"$SLURM_CONF" <<END
ClusterName=dual
SlurmctldHost=$NODE(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$CONTROLLER_PORT
SlurmdPort=$NODE_PORT
AuthType=auth/munge
AuthInfo=socket=$FOLDER/munge/socket
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd.pid
SlurmctldLogFile=$FOLDER/slurmctld.log
SlurmdLogFile=$FOLDER/slurmd.log
# Control groups, which real clusters have, need more than a container may do.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
# More CPUs than the machine has, perhaps: the jobs are small.
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=$NODE NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes=$NODE Default=YES MaxTime=INFINITE State=UP
END
echo "NodeName=$NODE Name=gpu File=$FOLDER/devices/nvidia[0-1]" >"$FOLDER/gres.conf"

setsid munged --foreground --key-file="$FOLDER/munge/key" --socket="$FOLDER/munge/socket" \
    --pid-file="$FOLDER/munge/pid" --log-file="$FOLDER/munge/log" \
    --seed-file="$FOLDER/munge/seed" >"$FOLDER/munge/output" 2>&1 &
PIDS+=($!)
setsid slurmctld -D >"$FOLDER/slurmctld.output" 2>&1 &
PIDS+=($!)
setsid slurmd -D -N "$NODE" >"$FOLDER/slurmd.output" 2>&1 &
PIDS+=($!)

for _ in $(seq 60); do
    [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && break
    for pid in "${PIDS[@]}"; do
        kill -0 "$pid" 2>/dev/null && continue
        cat "$FOLDER"/*.output "$FOLDER"/munge/output >&2
        fail "a daemon did not start"
    done
    sleep 1
done
[ "$(sinfo -h -o %T)" = idle ] || fail "the node did not come up; KEEP=1 keeps the logs"
sinfo -h -o "Node %n: %T, %c CPUs, %G"

export SCIPION_HOME="$FOLDER/scipion" SCIPION_USER_DATA="$FOLDER/scipion/user_data"
export SCIPION_HOSTS="$FOLDER/hosts.conf"
export SCIPION_DOMAIN=pwem SCIPION_PYTHON="$PYTHON" SCIPION_NOTIFY=False OMP_NUM_THREADS=1
setsid "$PYTHON" benchmarks/slurm_protocols.py "$FOLDER" &
RUN=$!
wait "$RUN"
RUN=""
