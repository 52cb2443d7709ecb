"""Low-rank additions by peft. The embedding is trained in full beside them: the mask token's row is new."""
import torch

from .errors import TrainError
from .model import Qwen3

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTER = "default"


def add(model: Qwen3, rank: int, alpha: float) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise TrainError("--lora: the Python package peft is not installed (pip install peft)") from None
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS, bias="none"), model, ADAPTER)
    model.model.embed_tokens.weight.requires_grad_(True)


def merged(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of a model without additions that computes the same."""
    deltas = {name: module.get_delta_weight(ADAPTER) for name, module in model.named_modules()
              if hasattr(module, "get_delta_weight")}
    result = {}
    for name, tensor in state.items():
        if ".lora_" in name:
            continue
        name = name.replace(".base_layer.", ".") # peft before 0.7 leaves a weight where it was
        delta = deltas.pop(name.removesuffix(".weight"), None)
        result[name] = tensor if delta is None else tensor + delta
    if deltas:
        raise TrainError(f"--lora: this version of peft names weights in another way, {min(deltas)} has none")
    return result
