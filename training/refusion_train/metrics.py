"""What a run tells: a line of progress, metrics.jsonl, TensorBoard."""
import json
import os
import sys

from .errors import TrainError


def say(text: str) -> None:
    print(f"train: {text}", file=sys.stderr, flush=True)


def _cut(path: str, step: int) -> None:
    """Leaves out the steps behind a checkpoint, which a resumed run takes again, and a line that a kill cut short."""
    kept = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line)
                except (ValueError, KeyError, TypeError):
                    pass
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.writelines(kept)
    os.replace(path + ".new", path)


class Metrics:
    def __init__(self, folder: str, step: int, tensorboard: bool):
        path = os.path.join(folder, "metrics.jsonl")
        _cut(path, step)
        self.file = open(path, "a", encoding="utf-8")
        self.board = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise TrainError("--tensorboard: the Python package tensorboard is not installed") from None
            self.board = SummaryWriter(os.path.join(folder, "tensorboard"), purge_step=step + 1)

    def write(self, values: dict) -> None:
        self.file.write(json.dumps(values) + "\n")
        self.file.flush()
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, values["step"])

    def close(self) -> None:
        self.file.close()
        if self.board:
            self.board.close()
