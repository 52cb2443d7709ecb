#!/bin/bash
# Makes the embedded model: training/tiny/train.sh FOLDER [OPTIONS...]
# Samples, tokenizer and checkpoints are kept in FOLDER; the same command goes on where it was stopped, and ends with the
# model in FOLDER/hard/model. OPTIONS are those of training/train.sh and stand behind the ones below, of all parts.
set -euo pipefail
here="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
python=${PYTHON-python3}
[ $# -ge 1 ] && [ "${1#-}" = "$1" ] || { sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
folder=$1
shift

# From random weights: causal_steps of 64 samples as a language model, then even_steps as a ReFusion model, in another order,
# then hard_steps more with other samples, most of them of what was not learnt by then, and slots that are half done.
samples=1000000 learned_from=20000 causal_steps=1500 even_steps=5500 hard_steps=5600
hard="word problems=2,bus=2,clock=3,rewriting=3,sort_numbers=3,rename_key=2,filter_lines=4,columns=4,sentences=3,dates=2,case=3,tally=4"
mkdir -p "$folder"
[ -e "$folder/train.jsonl" ] || "$python" "$here/generate.py" --train $samples --seed 1 --out "$folder/train.jsonl"
[ -e "$folder/hard.jsonl" ] ||
    "$python" "$here/generate.py" --train $((samples / 2)) --seed 2 --weights "$hard" --out "$folder/hard.jsonl"
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
    "$here/../train.sh" --tokenizer "$folder/start" --cache "$folder/data" --resume \
        --batch-size 64 --warmup 200 --beta2 0.98 --weight-decay 0.01 --max-length 160 \
        --precision bf16 --micro-batch 16 --save-every 250 "$@"
}
[ -e "$folder/causal/model" ] ||
    train --config "$folder/start/config.json" --data "$folder/train.jsonl" --objective causal --seed 1 --lr 2e-3 --min-lr 1e-3 \
        --steps $causal_steps --out "$folder/causal" "$@"
[ -e "$folder/even/model" ] ||
    train --model "$folder/causal/model" --data "$folder/train.jsonl" --seed 2 --lr 2e-3 --min-lr 1e-4 --steps $even_steps \
        --out "$folder/even" "$@"
train --model "$folder/even/model" --data "$folder/hard.jsonl" --seed 3 --lr 1.5e-3 --min-lr 5e-5 --begun-slots 0.5 \
    --steps $hard_steps --out "$folder/hard" "$@"
