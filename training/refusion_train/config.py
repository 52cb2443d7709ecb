"""config.json of a Qwen3 model, checked: what the network below would compute otherwise is refused."""
import os
from dataclasses import dataclass
from typing import Any

from .errors import TrainError, describe, read_json

DIMENSIONS = {"num_hidden_layers": "layers", "hidden_size": "hidden", "num_attention_heads": "heads",
              "num_key_value_heads": "kv_heads", "head_dim": "head_dim", "intermediate_size": "ffn",
              "vocab_size": "vocab", "max_position_embeddings": "max_positions"}


@dataclass(frozen=True)
class ModelConfig:
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    max_positions: int
    rms_eps: float
    rope_theta: float
    tied: bool
    initializer_range: float


def _number(fields: dict, file: str, key: str, default: float | None = None) -> float:
    value = fields.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise TrainError(f"{file}: {key} is {describe(value)}, wanted a number above 0")
    return float(value)


def _dimension(fields: dict, file: str, key: str) -> int:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TrainError(f"{file}: {key} is {describe(value)}, wanted a whole number above 0")
    return value


def _want(fields: dict, file: str, key: str, allowed: tuple, wanted: str) -> None:
    if not any(fields.get(key) is value or fields.get(key) == value for value in allowed):
        raise TrainError(f"{file}: {key} is {describe(fields.get(key))}, wanted {wanted}")


def _check_network(fields: dict, file: str) -> None:
    """Everything that would make it another network."""
    _want(fields, file, "model_type", ("qwen3", "refusion"), '"qwen3" or "refusion"')
    _want(fields, file, "hidden_act", ("silu", None), '"silu"')
    _want(fields, file, "attention_bias", (False, None), "false")
    _want(fields, file, "use_sliding_window", (False, None), "false")
    for key in ("rope_scaling", "rope_parameters"):
        scaling = fields.get(key)
        kind = scaling.get("rope_type", scaling.get("type")) if isinstance(scaling, dict) else None
        if scaling is not None and kind != "default":
            raise TrainError(f"{file}: {key}.rope_type is {describe(kind)}, wanted \"default\" or no {key} at all")
    types = fields.get("layer_types")
    if isinstance(types, list) and any(name != "full_attention" for name in types):
        raise TrainError(f"{file}: layer_types names other layers than \"full_attention\"")


def parse(fields: dict, file: str) -> ModelConfig:
    _check_network(fields, file)
    numbers: dict[str, Any] = {name: _dimension(fields, file, key) for key, name in DIMENSIONS.items()}
    if numbers["heads"] % numbers["kv_heads"]:
        raise TrainError(f"{file}: num_attention_heads is {numbers['heads']}, wanted a multiple of "
                         f"num_key_value_heads {numbers['kv_heads']}")
    if numbers["head_dim"] % 2:
        raise TrainError(f"{file}: head_dim is {numbers['head_dim']}, wanted an even number")
    rope = fields.get("rope_parameters") or {}
    theta = _number({"rope_theta": fields.get("rope_theta", rope.get("rope_theta"))}, file, "rope_theta")
    tied = fields.get("tie_word_embeddings", False)
    if not isinstance(tied, bool):
        raise TrainError(f"{file}: tie_word_embeddings is {describe(tied)}, wanted true or false")
    return ModelConfig(**numbers, rms_eps=_number(fields, file, "rms_norm_eps"), rope_theta=theta, tied=tied,
                       initializer_range=_number(fields, file, "initializer_range", 0.02))


def load(path: str) -> tuple[dict, ModelConfig]:
    """The fields as they are in the file (they are written back), and those that the network needs."""
    file = os.path.join(path, "config.json") if os.path.isdir(path) else path
    fields = read_json(file)
    return fields, parse(fields, file)
