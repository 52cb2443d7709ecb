"""ReFusion's training objective, and the plain one that comes before it (lay_out_causal).

An answer is cut into slots of k consecutive tokens. A share of the slots is masked. The rows that the network sees are
    prompt | unmasked slots, shuffled | masked slots, in order
each with the position that its token has in the text. An unmasked slot's row predicts the token after it, inside its
slot only: what begins a slot is never predicted by a token, because when decoding any slot may stand before it. A
masked row predicts the token at its own position.
"""
import random
from dataclasses import dataclass
from typing import Sequence

import torch

SLOT_SIZES = (4, 8, 16, 32)
LEAST_MASKED = 1e-3 # of the masking ratio, so that its reciprocal stays within bounds
IGNORED = -100      # the label of a row that predicts nothing


@dataclass(frozen=True)
class Draw:
    """What chance decides of a sample."""
    slot_size: int
    ratio: float
    masked: list[int]   # slots, in position order
    unmasked: list[int] # slots, in the order in which they are laid out
    known: int = 0      # tokens of the only masked slot that stand before its masks


def draw(answer_length: int, chance: random.Random, begun: float = 0.0) -> Draw:
    """`begun`: the share of samples in which one masked slot is laid out as decoding completes it, its first tokens known
    and no other masked slot in sight. The published objective has none: there a mask never follows a token of its slot,
    as it does in every turn of COMPLETE, whose first draft is taken whatever it is."""
    slot_size = chance.choice(SLOT_SIZES)
    ratio = (1 - LEAST_MASKED) * chance.random() + LEAST_MASKED
    masked, unmasked = [], []
    for slot in range(-(-answer_length // slot_size)):
        (masked if chance.random() < ratio else unmasked).append(slot)
    chance.shuffle(unmasked)
    if begun and masked and chance.random() < begun:
        slot = chance.choice(masked)
        length = min(slot_size, answer_length - slot * slot_size)
        if length > 1:
            return Draw(slot_size, ratio, [slot], unmasked, chance.randrange(1, length))
    return Draw(slot_size, ratio, masked, unmasked)


@dataclass
class Rows:
    """A sample as the network sees it. Of each row: token, position, label, is it masked."""
    tokens: list[int]
    positions: list[int]
    labels: list[int]
    masked: list[bool]
    scale: float # of each masked row's cross entropy

    def next_token_labels(self) -> int:
        return sum(label != IGNORED and not masked for label, masked in zip(self.labels, self.masked))


def lay_out(prompt: Sequence[int], answer: Sequence[int], drawn: Draw, mask_token: int) -> Rows:
    count, size, known = len(prompt), drawn.slot_size, drawn.known
    rows = Rows(list(prompt), list(range(count)), [IGNORED] * count, [False] * count,
                1 / (drawn.ratio * len(answer)))
    for slot in drawn.unmasked:
        tokens = list(answer[slot * size:(slot + 1) * size])
        rows.tokens += tokens
        rows.labels += tokens[1:] + [IGNORED]
        rows.masked += [False] * len(tokens)
        rows.positions += range(count + slot * size, count + slot * size + len(tokens))
    for slot in drawn.masked:
        tokens = list(answer[slot * size:(slot + 1) * size])
        rows.tokens += tokens[:known] + [mask_token] * (len(tokens) - known)
        rows.labels += tokens[1:known + 1] + tokens[known:]
        rows.masked += [False] * known + [True] * (len(tokens) - known)
        rows.positions += range(count + slot * size, count + slot * size + len(tokens))
        if known: # as much as all masks of a sample have on average
            rows.scale = 1 / (len(tokens) - known)
    return rows


def lay_out_causal(prompt: Sequence[int], answer: Sequence[int]) -> Rows:
    """For a network that cannot read yet: the text in its order, each row predicts the token after it, the prompt's too.
    The checkpoints that ReFusion's training starts from were trained like this."""
    tokens = [*prompt, *answer]
    return Rows(tokens, list(range(len(tokens))), tokens[1:] + [IGNORED], [False] * len(tokens), 0.0)


@dataclass
class Batch:
    """Tensors [sample][row], padded on the right; `masked` and `scale` of the rows with labels alone, in order."""
    tokens: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor
    masked: torch.Tensor
    scale: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(x.to(device, non_blocking=True)
                       for x in (self.tokens, self.positions, self.labels, self.masked, self.scale)))


def collate(samples: Sequence[Rows], pad_token: int) -> Batch:
    width = max(len(sample.tokens) for sample in samples)

    def padded(name: str, value: int) -> torch.Tensor:
        return torch.tensor([getattr(s, name) + [value] * (width - len(s.tokens)) for s in samples])

    labels, masked = padded("labels", IGNORED), padded("masked", False)
    scale = torch.tensor([s.scale for s in samples], dtype=torch.float64)[:, None].expand(labels.shape)
    kept = labels != IGNORED
    return Batch(padded("tokens", pad_token), padded("positions", 0), labels, masked[kept], scale[kept])


def terms(cross_entropy: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over the batch's rows: next-token cross entropies, and masked ones with their weights. The loss is the first
    divided by the number of its rows, plus the second divided by the number of samples; both numbers are those of all
    samples of a step, wherever they are computed, so they are not known here."""
    weighted = cross_entropy * batch.scale.to(cross_entropy.dtype)
    zero = torch.zeros((), dtype=cross_entropy.dtype, device=cross_entropy.device)
    return torch.where(batch.masked, zero, cross_entropy).sum(), torch.where(batch.masked, weighted, zero).sum()
