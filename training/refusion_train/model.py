"""The Qwen3 architecture, with transformers' tensor names.

Written out here because training needs two things of it that are its own: positions that do not follow the order of
the rows, and a loss that is never made for rows without a label. Attention is plain causal in the order of the rows, so
rows on the right (padding) are never seen and no attention mask exists.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from .config import ModelConfig
from .objective import IGNORED

HEAD_ROWS = 2048 # rows whose logits exist at a time: 1.2 GB of f32 at 151671 tokens


def widen(x: torch.Tensor) -> torch.Tensor:
    """At least f32."""
    return x if x.dtype == torch.float64 else x.float()


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = widen(x)
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def rope_tables(config: ModelConfig, positions: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [batch][1][row][head_dim], made in f64: f32 angles are off by 1e-4 at position 4095."""
    even = torch.arange(0, config.head_dim, 2, dtype=torch.float64, device=positions.device)
    angles = positions.double()[:, None, :, None] * config.rope_theta ** (-even / config.head_dim)
    angles = torch.cat((angles, angles), -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """[batch][head][row][head_dim]; each row sees itself and those before it."""
    slow = q.device.type == "cpu" and q.dtype == torch.bfloat16 # PyTorch 2.6: 152 ms where the lines below take 21
    if hasattr(F, "scaled_dot_product_attention") and not slow:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    rows = q.shape[2]
    hidden = torch.ones(rows, rows, dtype=torch.bool, device=q.device).triu(1)
    scores = widen(q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).masked_fill(hidden, float("-inf"))
    return scores.softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.q_proj = nn.Linear(config.hidden, config.heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden, config.kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden, config.kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(config.heads * config.head_dim, config.hidden, bias=False)
        self.q_norm = RMSNorm(config.head_dim, config.rms_eps)
        self.k_norm = RMSNorm(config.head_dim, config.rms_eps)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        batch, rows, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(batch, rows, self.heads, self.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(batch, rows, self.kv_heads, self.head_dim)).transpose(1, 2)
        v = self.v_proj(x).view(batch, rows, self.kv_heads, self.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        group = self.heads // self.kv_heads
        out = causal_attention(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1))
        return self.o_proj(out.transpose(1, 2).reshape(batch, rows, -1))


class MLP(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden, config.ffn, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.ffn, bias=False)
        self.down_proj = nn.Linear(config.ffn, config.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden, config.rms_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden, config.rms_eps)
        self.mlp = MLP(config)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        self.embed_tokens = nn.Embedding(config.vocab, config.hidden)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden, config.rms_eps)

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        x = self.embed_tokens(tokens)
        cos, sin = rope_tables(self.config, positions, torch.float64 if x.dtype == torch.float64 else torch.float32)
        for layer in self.layers:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, cos, sin, use_reentrant=False)
            else:
                x = layer(x, cos, sin)
        return self.norm(x)


class Qwen3(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        if not config.tied:
            self.lm_head = nn.Linear(config.hidden, config.vocab, bias=False)

    def initialise(self, generator: torch.Generator) -> None:
        """Random weights, for training from scratch; norms keep their ones."""
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.dim() == 2:
                    parameter.normal_(0, self.config.initializer_range, generator=generator)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        weight = self.model.embed_tokens.weight if self.config.tied else self.lm_head.weight
        return widen(F.linear(hidden, weight))

    def _cross_entropy(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self._logits(hidden), labels, reduction="none")

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor,
                labels: torch.Tensor | None = None) -> torch.Tensor:
        """[batch][row] each. Without labels the logits [batch][row][token]; with labels the cross entropies of the
        rows that have one, in their order."""
        hidden = self.model(tokens, positions)
        if labels is None:
            return self._logits(hidden)
        kept = labels != IGNORED
        hidden, wanted = hidden[kept], labels[kept]
        if len(wanted) <= HEAD_ROWS or not torch.is_grad_enabled():
            return self._cross_entropy(hidden, wanted)
        return torch.cat([checkpoint(self._cross_entropy, h, w, use_reentrant=False)
                          for h, w in zip(hidden.split(HEAD_ROWS), wanted.split(HEAD_ROWS))])
