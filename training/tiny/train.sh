#!/bin/bash
# Makes the embedded model: training/tiny/train.sh FOLDER [OPTIONS...]
# Samples, tokenizer and checkpoints are kept in FOLDER; the same command goes on where it was stopped, and ends with the
# model in FOLDER/run/model, in f32. OPTIONS are those of training/train.sh and stand behind the ones below.
set -euo pipefail
here="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
python=${PYTHON-python3}
[ $# -ge 1 ] && [ "${1#-}" = "$1" ] || { sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
folder=$1
shift

# Each sample is seen once: 12,000 steps of 64.
samples=1000000 steps=12000 learned_from=20000
mkdir -p "$folder"
[ -e "$folder/train.jsonl" ] || "$python" "$here/generate.py" --train $samples --seed 1 --out "$folder/train.jsonl"
if [ ! -e "$folder/start/config.json" ]; then
    rm -rf "$folder/start" "$folder/start.new"
    head -n $learned_from "$folder/train.jsonl" >"$folder/tokenizer.jsonl"
    "$python" "$here/make_tokenizer.py" "$folder/tokenizer.jsonl" "$folder/start.new"
    rm "$folder/tokenizer.jsonl"
    mv "$folder/start.new" "$folder/start"
fi
exec "$here/../train.sh" --config "$folder/start/config.json" --tokenizer "$folder/start" --data "$folder/train.jsonl" \
    --out "$folder/run" --resume --steps $steps --batch-size 64 --lr 2e-3 --min-lr 1e-4 --warmup 200 --beta2 0.98 \
    --weight-decay 0.01 --max-length 160 --precision bf16 --micro-batch 16 --seed 1 --save-every 250 "$@"
