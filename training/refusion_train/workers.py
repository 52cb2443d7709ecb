"""The processes of a training: one, or those that torchrun started."""
import os
from typing import Any

import torch
import torch.distributed as dist

from .errors import TrainError


class Workers:
    def __init__(self, device: str):
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
        if gpu and gpus < here:
            raise TrainError(f"--device {device}: {here} processes on this machine and {gpus} GPUs")
        self.device = torch.device("cuda", self.local_rank) if gpu else torch.device("cpu")
        if gpu:
            torch.cuda.set_device(self.device)
        if "RANK" in os.environ:
            dist.init_process_group("nccl" if gpu else "gloo")

    @property
    def first(self) -> bool:
        return self.rank == 0

    def barrier(self) -> None:
        if dist.is_initialized():
            dist.barrier()

    def sums(self, *values: float) -> list[float]:
        """Each value's sum over the processes."""
        if not dist.is_initialized():
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def from_first(self, value: Any) -> Any:
        if not dist.is_initialized():
            return value
        box = [value]
        dist.broadcast_object_list(box, 0, device=self.device)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        if not dist.is_initialized():
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def agree(self, failure: str | None) -> None:
        """Raises everywhere what failed anywhere, so that nobody waits for a process that has gone."""
        for message in self.gather(failure):
            if message is not None:
                raise TrainError(message)

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()
