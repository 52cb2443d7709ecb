"""The engine on what training saved: logits of the same rows.

    test_engine.py WITH_DRIVER DRIVER TEST_FORWARD

TEST_FORWARD is tests/model/test_forward.c, which compares the engine's logits with those of a file; here it gets the
training code's.
"""
import json
import os
import random
import subprocess
import sys
import unittest

import torch

import support
from refusion_train import config, model, weights

SHAPES = {"tied": {"tie_word_embeddings": True}, "untied": {"head_dim": 32, "num_hidden_layers": 3}}
ROWS, LAST = 60, 12 # LAST: the rows that TEST_FORWARD looks at


def passes(vocabulary, mask):
    """Rows as training makes them: plain, with masks, with slots in another order."""
    chance = random.Random(2)
    tokens = [chance.randrange(vocabulary - 5) for _ in range(ROWS)]
    order = list(range(ROWS))
    shuffled = order[:20] + order[36:44] + order[20:28] + order[52:60] + order[28:36] + order[44:52]
    return {"plain": (tokens, order), "masks": (tokens[:48] + [mask] * 12, order),
            "shuffled": (tokens[:52] + [mask] * 8, shuffled)}


class Engine(support.TrainingTest):
    def forward(self, folder, golden):
        environment = {**os.environ, "RF_TEST_MODEL": folder, "RF_TEST_GOLDEN": golden, "RF_PRECISION": "f32",
                       "RF_TEST_NO_TUNE": "1"}
        for name in ("PYTHONPATH", "OMP_NUM_THREADS"):
            environment.pop(name, None)
        return subprocess.run([WITH_DRIVER, DRIVER, TEST_FORWARD, "logits_equal*"], env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def golden(self, folder, change=0.0):
        fields, shape = config.load(folder)
        network = model.Qwen3(shape)
        weights.load_weights(network, folder)
        cases = []
        for kind, (tokens, positions) in passes(shape.vocab, fields["mask_token_id"]).items():
            with torch.no_grad():
                logits = network(torch.tensor([tokens]), torch.tensor([positions]))[0, -LAST:] + change
            cases.append({"kind": kind, "tokens": tokens, "positions": positions, "logits": logits.tolist()})
        self.write("logits.json", cases)
        return self.folder

    def test_logits(self):
        for name, changes in SHAPES.items():
            options = self.options(name, "--steps", "5", "--config", self.config(**changes), "--lr", "1e-2")
            status, said = self.run_here(*options)
            self.assertEqual(status, 0, said)
            for part in ("checkpoints/step-00000005", "model"): # f32, bf16
                folder = self.path(name, *part.split("/"))
                run = self.forward(folder, self.golden(folder))
                if run.returncode == 77:
                    self.skipTest(run.stdout.strip().splitlines()[-1])
                self.assertEqual(run.returncode, 0, run.stdout)
                self.assertEqual(run.stdout.count("(tolerance 1e-05)"), 6, run.stdout)
                with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
                    self.assertLessEqual(changes.items(), json.load(file).items())
                print(name, part, *[line for line in run.stdout.splitlines() if "relative" in line], sep="\n  ")
        self.assertNotEqual(self.forward(folder, self.golden(folder, 1e-3)).returncode, 0) # it can fail


if __name__ == "__main__":
    WITH_DRIVER, DRIVER, TEST_FORWARD = sys.argv[1:4]
    result = unittest.main(argv=sys.argv[:1] + sys.argv[4:], exit=False).result
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)
