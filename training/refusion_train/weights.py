"""Model folders as transformers and the engine read them: config.json, safetensors (one file or shards), tokenizer."""
import json
import os
from typing import Iterable

import torch

from .errors import TrainError, read_json
from .model import Qwen3
from .tokenizer import ChatTokenizer

try:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file
except ImportError:
    raise TrainError("the Python package safetensors is not installed (pip install safetensors)") from None

SHARD_BYTES = 4 << 30
EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")
DTYPE_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def _files(folder: str) -> list[str]:
    single, index = (os.path.join(folder, name) for name in ("model.safetensors", "model.safetensors.index.json"))
    if os.path.exists(single):
        return [single]
    if not os.path.exists(index):
        raise TrainError(f"{folder}: has neither model.safetensors nor model.safetensors.index.json")
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise TrainError(f"{index}: has no object \"weight_map\"")
    return [os.path.join(folder, name) for name in sorted(set(shards.values()))]


def _shape(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _fitted(tensor: torch.Tensor, rows: int, generator: torch.Generator) -> torch.Tensor:
    """An embedding with another number of rows. New ones lie near the mean of the old, but not on one another."""
    have = tensor.shape[0]
    if have >= rows:
        return tensor[:rows]
    noise = torch.empty(rows - have, tensor.shape[1]).normal_(generator=generator)
    return torch.cat((tensor, tensor.mean(0) + noise * tensor.std(0) * 0.1))


def _place(target: torch.Tensor, name: str, tensor: torch.Tensor, path: str, resize: torch.Generator | None) -> None:
    if not tensor.is_floating_point():
        raise TrainError(f"{path}: {name} has type {str(tensor.dtype).removeprefix('torch.')}, wanted a floating one")
    tensor = tensor.to(target.dtype)
    if resize is not None and name in EMBEDDINGS and tensor.dim() == 2:
        tensor = _fitted(tensor, target.shape[0], resize)
    if tensor.shape != target.shape:
        raise TrainError(f"{path}: {name} is {_shape(tensor.shape)}, config.json wants {_shape(target.shape)}")
    target.copy_(tensor)


def load_weights(model: Qwen3, folder: str, resize: torch.Generator | None = None) -> None:
    """Reads every tensor of the model. With `resize`, embeddings may have another number of rows than the model."""
    targets = dict(model.state_dict())
    missing = set(targets)
    for path in _files(folder):
        try:
            with safe_open(path, "pt") as file, torch.no_grad():
                for name in file.keys():
                    if name == "lm_head.weight" and model.config.tied:
                        continue # some files write it out all the same
                    if name not in targets:
                        raise TrainError(f"{path}: {name} is no tensor of a model of this config.json")
                    _place(targets[name], name, file.get_tensor(name), path, resize)
                    missing.discard(name)
        except (SafetensorError, OSError) as error:
            raise TrainError(f"{path}: {error}") from None
    if missing:
        raise TrainError(f"{folder}: {min(missing)} is missing, and {len(missing) - 1} more tensors")


def _shards(state: dict[str, torch.Tensor], shard_bytes: int) -> list[dict[str, torch.Tensor]]:
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, tensor in state.items():
        count = tensor.numel() * tensor.element_size()
        if shards[-1] and size + count > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += count
    return shards


def _save_file(tensors: dict[str, torch.Tensor], path: str) -> None:
    save_file(tensors, path, metadata={"format": "pt"})
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask) # the library lets nobody else read it


def _save_weights(folder: str, state: dict[str, torch.Tensor], dtype: torch.dtype, shard_bytes: int) -> None:
    state = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in state.items()}
    shards = _shards(state, shard_bytes)
    if len(shards) == 1:
        _save_file(state, os.path.join(folder, "model.safetensors"))
        return
    where = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _save_file(shard, os.path.join(folder, file))
        where.update(dict.fromkeys(shard, file))
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": where}, file, indent=1)


def fields_for(fields: dict, tokenizer: ChatTokenizer) -> dict:
    """config.json of a model that was resized to the tokenizer."""
    return {**fields, "vocab_size": tokenizer.size, "mask_token_id": tokenizer.mask, "eos_token_id": tokenizer.end,
            "pad_token_id": tokenizer.pad}


def save_model(folder: str, state: dict[str, torch.Tensor], fields: dict, tokenizer: ChatTokenizer, dtype: torch.dtype,
               shard_bytes: int = SHARD_BYTES) -> None:
    """Writes the files into an existing folder."""
    _save_weights(folder, state, dtype, shard_bytes)
    config = {"architectures": ["Qwen3ForCausalLM"], **fields, "torch_dtype": DTYPE_NAMES[dtype]}
    config.pop("dtype", None) # as newer versions of transformers call it
    generation = {"eos_token_id": [tokenizer.end, tokenizer.pad], "pad_token_id": tokenizer.pad, "do_sample": False}
    texts = {"config.json": json.dumps(config, indent=1), "generation_config.json": json.dumps(generation, indent=1),
             **tokenizer.files()}
    for name, text in texts.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8", newline="") as file:
            file.write(text)
