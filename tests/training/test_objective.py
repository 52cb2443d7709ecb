"""The objective against the original program's, and its gradients against differences."""
import random
import unittest

import torch
from safetensors.torch import load_file

import support
from refusion_train import config, model, objective

LOSS_TOLERANCE = 1e-5


def batch_of(case):
    """The rows that the original made."""
    labels, masked = torch.tensor(case["labels"]), torch.tensor(case["masked"]).bool()
    scale = 1 / (torch.tensor(case["p_mask"], dtype=torch.float64) * torch.tensor(case["answer_lengths"]))
    kept = labels != objective.IGNORED
    return objective.Batch(torch.tensor(case["noised_ids"]), torch.tensor(case["position_ids"]), labels, masked[kept],
                           scale[:, None].expand(labels.shape)[kept])


def draw_of(case, row, size):
    """What chance decided there, were the slot size `size`; None where it cannot have been."""
    start, length = case["prompt_lengths"][row], case["answer_lengths"][row]
    positions, masked = case["position_ids"][row], case["masked"][row]
    found = {0: [], 1: []}
    at = start
    while at < start + length:
        slot, rest = divmod(positions[at] - start, size)
        if rest:
            return None
        found[masked[at]].append(slot)
        at += min(size, length - slot * size)
    return objective.Draw(size, case["p_mask"][row], found[1], found[0])


class Golden(unittest.TestCase):
    def test_losses_equal_the_original(self):
        _, shape = config.load(support.TINY)
        network = model.Qwen3(shape)
        network.load_state_dict({n: t.float() for n, t in load_file(support.TINY + "/model.safetensors").items()})
        cases = support.golden("loss.json")
        self.assertEqual(len(cases), 6)
        for case in cases:
            batch = batch_of(case)
            with torch.no_grad():
                one, other = objective.terms(network(batch.tokens, batch.positions, batch.labels), batch)
            self.assertAlmostEqual(float(one) / int((~batch.masked).sum()), case["ar_loss"], delta=LOSS_TOLERANCE)
            self.assertAlmostEqual(float(other) / len(batch.tokens), case["mdm_loss"], delta=LOSS_TOLERANCE)

    def test_rows_equal_the_original(self):
        """From the draws alone every row, label and weight comes out as the original had it."""
        rows = 0
        for case in support.golden("loss.json"):
            width = len(case["labels"][0])
            for row, ids in enumerate(case["input_ids"]):
                start, length = case["prompt_lengths"][row], case["answer_lengths"][row]
                drawn = [draw_of(case, row, size) for size in objective.SLOT_SIZES]
                laid = [objective.lay_out(ids[:start], ids[start:start + length], d, 670) for d in drawn if d]
                laid = [r for r in laid if r.labels == case["labels"][row][:start + length]]
                self.assertTrue(laid, f"seed {case['seed']}, row {row}: no slot size gives the original's labels")
                self.assertEqual(laid[0].tokens + [666] * (width - start - length), case["noised_ids"][row])
                self.assertEqual(laid[0].positions, case["position_ids"][row][:start + length])
                self.assertEqual(laid[0].masked, [bool(m) for m in case["masked"][row][:start + length]])
                self.assertAlmostEqual(laid[0].scale, 1 / (case["p_mask"][row] * length))
                rows += 1
        self.assertEqual(rows, 24)

    def test_logits_equal_the_original(self):
        _, shape = config.load(support.TINY)
        network = model.Qwen3(shape)
        network.load_state_dict({n: t.float() for n, t in load_file(support.TINY + "/model.safetensors").items()})
        for case in support.golden("logits.json"):
            with torch.no_grad():
                have = network(torch.tensor([case["tokens"]]), torch.tensor([case["positions"]]))[0]
            want = torch.tensor(case["logits"])
            self.assertLess(float((have[-len(want):] - want).abs().max()), 5e-5, case["kind"]) # printed with 6 digits


class Draws(unittest.TestCase):
    def test_distribution(self):
        """Each bound is five standard deviations."""
        chance, count = random.Random(5), 20000
        drawn = [objective.draw(37, chance) for _ in range(count)]
        for size in objective.SLOT_SIZES:
            self.assertAlmostEqual(sum(d.slot_size == size for d in drawn) / count, 0.25, delta=0.016)
        for d in drawn:
            self.assertEqual(sorted(d.masked + d.unmasked), list(range(-(-37 // d.slot_size))))
            self.assertEqual(d.masked, sorted(d.masked))
            self.assertTrue(1e-3 <= d.ratio <= 1)
        self.assertAlmostEqual(sum(d.ratio for d in drawn) / count, 0.5005, delta=0.011)
        low = [d for d in drawn if d.ratio < 0.25 and d.slot_size == 4] # ten slots, a ratio of 1/8 on average
        self.assertAlmostEqual(sum(len(d.masked) for d in low) / len(low) / 10, 0.1255, delta=0.02)
        shuffled = [d.unmasked for d in drawn if len(d.unmasked) == 3]
        self.assertAlmostEqual(sum(order == sorted(order) for order in shuffled) / len(shuffled), 1 / 6, delta=0.05)

    def test_weights_make_up_for_the_ratio(self):
        """A masked slot's weight is 1 over the chance that it is masked: every token counts 1 / length on average."""
        chance, length, total, count = random.Random(6), 16, 0.0, 40000
        for _ in range(count):
            rows = objective.lay_out([1], range(2, 2 + length), objective.draw(length, chance), 0)
            total += sum(rows.masked) * rows.scale
        self.assertAlmostEqual(total / count, 1, delta=0.06)

    def test_begun_slots(self):
        """Half of the samples with two tokens to mask: one slot, some of its tokens known, the rest masked, each mask with
        the same share of 1; all others are drawn as without."""
        chance, count, begun = random.Random(8), 20000, 0
        for number in range(count):
            length = chance.randrange(1, 40)
            plain, drawn = (objective.draw(length, random.Random(number), share) for share in (0.0, 0.5))
            rows = objective.lay_out([1, 1], range(2, 2 + length), drawn, 0)
            if not drawn.known:
                self.assertEqual(drawn, plain)
                continue
            begun += 1
            slot, = drawn.masked
            self.assertIn(slot, plain.masked)
            self.assertEqual(drawn.unmasked, plain.unmasked)
            first = slot * drawn.slot_size
            size = min(drawn.slot_size, length - first)
            text = list(range(2 + first, 2 + first + size)) # a token is its position here
            self.assertEqual(rows.positions[-size:], text)
            self.assertEqual(rows.tokens[-size:], text[:drawn.known] + [0] * (size - drawn.known))
            self.assertEqual(rows.labels[-size:], text[1:drawn.known + 1] + text[drawn.known:])
            self.assertEqual(rows.masked[-size:], [False] * drawn.known + [True] * (size - drawn.known))
            self.assertAlmostEqual(sum(rows.masked) * rows.scale, 1)
        able = sum(any(min(d.slot_size, n - slot * d.slot_size) > 1 for slot in d.masked) for d, n in (
            (objective.draw(n, random.Random(number)), n) for number, n in enumerate(self.lengths(8, count))))
        self.assertAlmostEqual(begun / able, 0.5, delta=0.03) # a slot of one token may be picked beside longer ones

    @staticmethod
    def lengths(seed, count):
        chance = random.Random(seed)
        return [chance.randrange(1, 40) for _ in range(count)]

    def test_one_token(self):
        drawn = objective.Draw(4, 0.5, [], [0])
        rows = objective.lay_out([7, 8], [9], drawn, 0)
        self.assertEqual((rows.tokens, rows.labels), ([7, 8, 9], [-100, -100, -100]))
        self.assertEqual(rows.next_token_labels(), 0)

    def test_causal(self):
        """The loss is that of a language model: the mean over every token but a sample's first."""
        chance, network = random.Random(7), model.Qwen3(config.parse({**support.SMALL, "vocab_size": 50}, "test"))
        network.initialise(torch.Generator().manual_seed(3))
        texts = [[chance.randrange(50) for _ in range(n)] for n in (9, 14)]
        rows = [objective.lay_out_causal(text[:5], text[5:]) for text in texts]
        self.assertEqual([r.next_token_labels() for r in rows], [8, 13])
        batch = objective.collate(rows, 0)
        one, other = objective.terms(network(batch.tokens, batch.positions, batch.labels), batch)
        wanted = 0.0
        for text in texts:
            logits = network(torch.tensor([text]), torch.arange(len(text))[None])[0].log_softmax(-1)
            wanted -= float(sum(logits[i, token] for i, token in enumerate(text[1:])))
        self.assertAlmostEqual(float(one), wanted, delta=1e-5 * wanted) # sums of f32 in another order
        self.assertEqual(float(other), 0)


class Gradients(unittest.TestCase):
    """In f64 a central difference of 1e-5 is right to about 1e-9 of the loss."""

    def check(self, tied, checkpointing):
        shape = config.parse({**support.SMALL, "vocab_size": 50, "tie_word_embeddings": tied}, "test")
        network = model.Qwen3(shape).double()
        network.initialise(torch.Generator().manual_seed(3))
        network.model.gradient_checkpointing = checkpointing
        chance = random.Random(4)
        drawn = [objective.Draw(4, 0.4, [1, 3], [4, 0, 2]), objective.Draw(8, 0.7, [0], [1])]
        rows = [objective.lay_out([chance.randrange(49) for _ in range(5)], [chance.randrange(49) for _ in range(n)],
                                  d, 49) for n, d in zip((18, 11), drawn)]
        batch = objective.collate(rows, 0)

        def loss():
            one, other = objective.terms(network(batch.tokens, batch.positions, batch.labels), batch)
            return one / sum(r.next_token_labels() for r in rows) + other / len(rows)

        loss().backward()
        generator = torch.Generator().manual_seed(5)
        for name, parameter in network.named_parameters():
            direction = torch.empty_like(parameter).normal_(generator=generator)
            with torch.no_grad():
                parameter += 1e-5 * direction
                above = float(loss())
                parameter -= 2e-5 * direction
                below = float(loss())
                parameter += 1e-5 * direction
            want, have = (above - below) / 2e-5, float((parameter.grad * direction).sum())
            self.assertAlmostEqual(have, want, delta=1e-7 + 1e-6 * abs(want), msg=name)

    def test_plain(self):
        self.check(tied=False, checkpointing=False)

    def test_tied_head_in_parts_and_layers_computed_twice(self):
        kept, model.HEAD_ROWS = model.HEAD_ROWS, 5
        self.addCleanup(setattr, model, "HEAD_ROWS", kept)
        self.check(tied=True, checkpointing=True)


if __name__ == "__main__":
    unittest.main()
