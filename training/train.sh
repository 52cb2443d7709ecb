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

# A free port, and what torchrun has to be told in addition; its trouble in one line, where it cannot run.
if ! told=$("$python" - 2>&1 <<'PYTHON'
import sys
from torch.distributed import TCPStore
from torch.distributed.elastic.multiprocessing import Std
try: # as torchrun does; Debian 13's PyTorch 2.6 was built without what this asks for
    store = TCPStore("127.0.0.1", 0, 1, True, wait_for_workers=False)
except RuntimeError as error:
    sys.exit(str(error).splitlines()[0])
# PyTorch 1.13, as Debian 12 has it, cannot read its own default of these two options under Python 3.11. A setting for a
# process that is not there leaves all others as they are.
print(store.port, *(["--redirects", "9:1", "--tee", "9:1"] if Std.from_str("0") is None else []))
PYTHON
); then
    die "torchrun cannot start processes with this PyTorch ($told); -p 1 does without it"
fi
read -r free_port told <<<"$told"
[ "$nodes" != 1 ] || master=127.0.0.1 port=$free_port # several trainings can run on one machine
# shellcheck disable=SC2086 # words
exec "$python" -m torch.distributed.run --nnodes "$nodes" --node_rank "$rank" --master_addr "$master" \
    --master_port "$port" --nproc_per_node "$processes" $told -m refusion_train "$@"
