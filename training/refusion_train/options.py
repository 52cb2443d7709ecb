"""The command line."""
import argparse
from typing import Sequence


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}, wanted a whole number above 0")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}, wanted a number, 0 or more")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text}, wanted a number above 0, at most 1")
    return value


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=_positive, help="optimizer steps; without it --epochs decides")
    parser.add_argument("--epochs", type=_positive, default=1, help="times each sample is seen (default 1)")
    parser.add_argument("--batch-size", type=_positive, default=32, metavar="N",
                        help="samples a step, over all processes (default 32)")
    parser.add_argument("--micro-batch", type=_positive, metavar="N",
                        help="samples a process forwards at once; gradients add up to the batch (default: all)")
    parser.add_argument("--lr", type=_not_negative, default=1e-5, help="learning rate at its peak (default 1e-5)")
    parser.add_argument("--min-lr", type=_not_negative, default=0.0, metavar="LR", help="at the end (default 0)")
    parser.add_argument("--warmup", type=_not_negative, default=0.03, metavar="SHARE",
                        help="share of the steps in which the rate rises; 1 and more: steps (default 0.03)")
    parser.add_argument("--weight-decay", type=_not_negative, default=0.01, metavar="X", help="default 0.01")
    parser.add_argument("--beta2", type=_not_negative, default=0.95, metavar="X", help="of AdamW (default 0.95)")
    parser.add_argument("--clip", type=_not_negative, default=1.0, metavar="NORM",
                        help="longest gradient; 0: any (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resume", action="store_true",
                        help="go on from the newest checkpoint in --out; begins where there is none")
    parser.add_argument("--save-every", type=_positive, default=500, metavar="STEPS", help="default 500")
    parser.add_argument("--keep", type=_positive, default=2, metavar="N", help="checkpoints that stay (default 2)")
    parser.add_argument("--log-every", type=_positive, default=10, metavar="STEPS",
                        help="a line of progress; metrics are written every step (default 10)")
    parser.add_argument("--tensorboard", action="store_true", help="metrics for TensorBoard too")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "f32", "bf16"), default="auto",
                        help="of the computation; weights stay f32 (auto: bf16 on a GPU, f32 elsewhere)")
    parser.add_argument("--sharding", choices=("auto", "none", "fsdp"), default="auto",
                        help="fsdp shares weights and optimizer out among processes (auto: on several GPUs)")
    parser.add_argument("--gradient-checkpointing", action="store_true",
                        help="compute a layer's activations twice instead of keeping them")


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="train.sh", description="Trains a ReFusion model: docs/training.md.",
                                     allow_abbrev=False)
    start = result.add_mutually_exclusive_group(required=True)
    start.add_argument("--model", metavar="FOLDER", help="a Qwen3 or ReFusion model in HF format to start from")
    start.add_argument("--config", metavar="FILE", help="a config.json: random weights, with --tokenizer")
    result.add_argument("--tokenizer", metavar="FOLDER", help="where the tokenizer is (default: --model)")
    result.add_argument("--data", nargs="+", required=True, metavar="FILE",
                        help='JSON lists or JSON lines of {"query", "response"}')
    result.add_argument("--out", required=True, metavar="FOLDER", help="checkpoints, metrics, and at the end the model")
    result.add_argument("--objective", choices=("refusion", "causal"), default="refusion",
                        help="causal: the next token of prompt and answer, to begin from random weights with")
    result.add_argument("--begun-slots", type=_share, metavar="SHARE",
                        help="of samples of which one slot is half done, as when it is completed in decoding (default 0)")
    result.add_argument("--max-length", type=_positive, default=4096, metavar="TOKENS",
                        help="longer samples are left out (default 4096)")
    result.add_argument("--malformed", choices=("stop", "skip"), default="stop",
                        help="at a sample that cannot be read (default stop)")
    result.add_argument("--cache", metavar="FOLDER", help="encoded samples (default: data below --out)")
    result.add_argument("--lora", type=_positive, metavar="RANK", help="train low-rank additions and embeddings (peft)")
    result.add_argument("--lora-alpha", type=_not_negative, metavar="X", help="default: twice the rank")
    _add_schedule(result)
    _add_running(result)
    return result


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    known = parser()
    options = known.parse_args(arguments)
    if options.config and not options.tokenizer:
        known.error("--config: wants --tokenizer too")
    if options.config and options.lora:
        known.error("--lora: wants --model, additions to random weights are of no use")
    if options.begun_slots and options.objective == "causal":
        known.error("--begun-slots: is of --objective refusion, a causal one has no slots")
    if not options.beta2 < 1:
        known.error(f"--beta2: {options.beta2}, wanted below 1")
    if options.min_lr > options.lr:
        known.error(f"--min-lr: {options.min_lr}, wanted at most --lr {options.lr}")
    return options
