#!/bin/bash
# Trains on every GPU of this machine, or of several: docs/training.md.
#   training/train.sh [-n NODES] [-r RANK] [-m MASTER[:PORT]] [-p PROCESSES] OPTIONS...
#   -n   machines that take part (1); start this script on each
#   -r   this machine's number, from 0 (0)
#   -m   the machine with number 0, as the others reach it (this one, port 29500)
#   -p   processes on this machine (one for each GPU, one without)
# OPTIONS are those of the trainer; --help shows them. PYTHON names the interpreter (python3).
set -euo pipefail
here="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
python=${PYTHON-python3}
nodes=1 rank=0 master=localhost port=29500 processes=

die() { printf 'train: %s\n' "$*" >&2; exit 2; }
number() { [[ $2 =~ ^[0-9]+$ ]] || die "-$1: '$2', wanted a number"; }

while [[ ${!OPTIND-} != --?* ]] && getopts 'n:r:m:p:' option; do # a long option is the trainer's
    case $option in
    n) number n "$OPTARG"; nodes=$OPTARG ;;
    r) number r "$OPTARG"; rank=$OPTARG ;;
    m) master=${OPTARG%:*}; [ "$master" = "$OPTARG" ] || port=${OPTARG##*:} ;;
    p) number p "$OPTARG"; processes=$OPTARG ;;
    *) sed -n '3,8s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ "${1-}" != -- ] || shift
[ "$nodes" -ge 1 ] || die "-n: '$nodes', wanted at least 1"
[ "$rank" -lt "$nodes" ] || die "-r: $rank, wanted below the number of machines, $nodes"
[ "$nodes" = 1 ] || [ "$master" != localhost ] || die "-n $nodes: wants -m, the machine with number 0"

"$python" -c 'import torch' 2>/dev/null || die "$python has no PyTorch; PYTHON names another interpreter"
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
[ -n "$processes" ] ||
    processes=$("$python" -c 'import torch; print(max(1, torch.cuda.device_count()))')
if [ "$nodes" = 1 ] && [ "$processes" = 1 ]; then
    exec "$python" -m refusion_train "$@"
fi
where=(--nnodes "$nodes" --node_rank "$rank" --master_addr "$master" --master_port "$port")
if [ "$nodes" = 1 ]; then
    where=(--standalone) # finds a free port, so several trainings can run on one machine
fi
# PyTorch 1.13, as Debian 12 has it, cannot read its own default of these two options under Python 3.11. A setting for a
# process that is not there leaves all others as they are.
if "$python" -c 'import sys
from torch.distributed.elastic.multiprocessing import Std
sys.exit(Std.from_str("0") is not None)' 2>/dev/null; then
    where+=(--redirects 9:1 --tee 9:1)
fi
exec "$python" -m torch.distributed.run "${where[@]}" --nproc_per_node "$processes" -m refusion_train "$@"
