"""How the model is laid over the processes: one copy in each (DDP), or shared out among them (FSDP)."""
import contextlib
import functools
from typing import ContextManager

import torch
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel

from .errors import TrainError
from .model import Layer, Qwen3
from .workers import Workers


class Replica:
    """One copy of the model in each process."""

    def __init__(self, model: Qwen3, workers: Workers, bf16: bool):
        self.plain, self.bf16, self.device = model.to(workers.device), bf16, workers.device
        self.module: nn.Module = self.plain
        if workers.count > 1:
            ids = [workers.local_rank] if workers.device.type == "cuda" else None
            self.module = DistributedDataParallel(self.plain, device_ids=ids)

    def autocast(self) -> ContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def no_sync(self) -> ContextManager:
        return self.module.no_sync() if self.module is not self.plain else contextlib.nullcontext()

    def clip(self, norm: float) -> float:
        return float(nn.utils.clip_grad_norm_(self.plain.parameters(), norm or float("inf")))

    def state(self) -> dict[str, torch.Tensor]:
        return self.plain.state_dict()

    def _names(self, optimizer: torch.optim.Optimizer) -> list[str]:
        """Of the parameters, in the optimizer's order."""
        names = {parameter: name for name, parameter in self.plain.named_parameters()}
        return [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict:
        """By names, as FSDP has it, so that either can go on from the other's checkpoint."""
        return _renamed(optimizer.state_dict(), dict(enumerate(self._names(optimizer))))

    def load_optimizer(self, optimizer: torch.optim.Optimizer, state: dict) -> None:
        numbers = {name: number for number, name in enumerate(self._names(optimizer))}
        optimizer.load_state_dict(_renamed(state, numbers))


def _renamed(state: dict, keys: dict) -> dict:
    return {"state": {keys[key]: value for key, value in state["state"].items()},
            "param_groups": [{**group, "params": [keys[key] for key in group["params"]]}
                             for group in state["param_groups"]]}


class Shards:
    """Weights, gradients and optimizer shared out, each layer gathered while it computes. States come and go whole, on
    the first process's host memory, so that a checkpoint knows no number of processes."""

    def __init__(self, model: Qwen3, workers: Workers, bf16: bool):
        from torch.distributed import fsdp
        from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
        self.fsdp = fsdp
        mixed = fsdp.MixedPrecision(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if bf16 else None
        wrap = functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={Layer})
        self.module = fsdp.FullyShardedDataParallel(model, auto_wrap_policy=wrap, mixed_precision=mixed,
                                                    device_id=workers.device, use_orig_params=True)
        # Without GPUs PyTorch 2.6 hands out memory that it has freed when asked to offload.
        gpu = workers.device.type == "cuda"
        where = {"offload_to_cpu": gpu, "rank0_only": gpu}
        fsdp.FullyShardedDataParallel.set_state_dict_type(
            self.module, fsdp.StateDictType.FULL_STATE_DICT, fsdp.FullStateDictConfig(**where),
            fsdp.FullOptimStateDictConfig(**where))

    def autocast(self) -> ContextManager:
        return contextlib.nullcontext()

    def no_sync(self) -> ContextManager:
        return self.module.no_sync()

    def clip(self, norm: float) -> float:
        return float(self.module.clip_grad_norm_(norm or float("inf")))

    def state(self) -> dict[str, torch.Tensor]:
        return self.module.state_dict()

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict:
        return self.fsdp.FullyShardedDataParallel.optim_state_dict(self.module, optimizer)

    def load_optimizer(self, optimizer: torch.optim.Optimizer, state: dict) -> None:
        wrapped = self.fsdp.FullyShardedDataParallel
        optimizer.load_state_dict(wrapped.optim_state_dict_to_load(self.module, optimizer, state))


def lay_out(model: Qwen3, workers: Workers, sharding: str, bf16: bool, lora: bool) -> Replica | Shards:
    new = int(torch.__version__.split(".")[0]) >= 2
    if sharding == "fsdp":
        for trouble, wanted in ((workers.count == 1, "several processes"), (lora, "no --lora, whose state is small"),
                                (not new, f"PyTorch 2, this is {torch.__version__}")):
            if trouble:
                raise TrainError(f"--sharding fsdp: wants {wanted}")
    shared = workers.device.type == "cuda" and workers.count > 1 and new and not lora
    if sharding == "fsdp" or (sharding == "auto" and shared):
        return Shards(model, workers, bf16)
    return Replica(model, workers, bf16)
