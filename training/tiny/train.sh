#!/bin/bash
# Makes the embedded model: training/tiny/train.sh FOLDER [OPTIONS...]
# Samples, tokenizer and checkpoints are kept in FOLDER; the same command goes on where it was stopped, and ends with the
# model in FOLDER/run/model. OPTIONS are those of training/train.sh and stand behind the ones below, of both parts.
set -euo pipefail
here="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
python=${PYTHON-python3}
[ $# -ge 1 ] && [ "${1#-}" = "$1" ] || { sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
folder=$1
shift

# From random weights: CAUSAL_STEPS of 64 samples as a language model, then STEPS as a ReFusion model, in another order.
samples=1000000 causal_steps=1500 steps=5500 learned_from=20000
mkdir -p "$folder"
[ -e "$folder/train.jsonl" ] || "$python" "$here/generate.py" --train $samples --seed 1 --out "$folder/train.jsonl"
if [ ! -e "$folder/start/config.json" ]; then
    rm -rf "$folder/start" "$folder/start.new"
    head -n $learned_from "$folder/train.jsonl" >"$folder/tokenizer.jsonl"
    "$python" "$here/make_tokenizer.py" "$folder/tokenizer.jsonl" "$folder/start.new"
    rm "$folder/tokenizer.jsonl"
    mv "$folder/start.new" "$folder/start"
fi
# glibc gives large blocks back to the kernel and gets them anew: 11 to 20% of a step's time (PyTorch 2.6, two cores).
export GLIBC_TUNABLES=${GLIBC_TUNABLES-glibc.malloc.mmap_threshold=2000000000:glibc.malloc.trim_threshold=8000000000:glibc.malloc.top_pad=268435456}
train() {
    "$here/../train.sh" --tokenizer "$folder/start" --data "$folder/train.jsonl" --cache "$folder/data" --resume \
        --batch-size 64 --lr 2e-3 --warmup 200 --beta2 0.98 --weight-decay 0.01 --max-length 160 \
        --precision bf16 --micro-batch 16 --save-every 250 "$@"
}
[ -e "$folder/causal/model" ] ||
    train --config "$folder/start/config.json" --objective causal --seed 1 --min-lr 1e-3 --steps $causal_steps --out "$folder/causal" "$@"
train --model "$folder/causal/model" --seed 2 --min-lr 1e-4 --steps $steps --out "$folder/run" "$@"
