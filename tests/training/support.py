"""What the tests of training/ share: a small model, samples, runs of the trainer. They need torch, tokenizers and
safetensors: /usr/bin/python3 with PYTHONPATH=.deps/python has them behind scripts/setup.sh --tests."""
import contextlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRAINING = os.path.join(ROOT, "training")
TINY = os.path.join(ROOT, "tests", "golden", "tiny")
GOLDEN = os.path.join(ROOT, "tests", "golden")
sys.path.insert(0, TRAINING)
for name in ("MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
    os.environ.pop(name, None)

import torch # noqa: E402

from refusion_train.__main__ import main # noqa: E402

torch.set_num_threads(1) # sums of more threads are others, and runs are compared bit by bit

SMALL = {"model_type": "qwen3", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48, "vocab_size": 671, "rms_norm_eps": 1e-6,
         "rope_theta": 1e6, "max_position_embeddings": 512, "hidden_act": "silu", "tie_word_embeddings": False,
         "initializer_range": 0.2}


def golden(name):
    with open(os.path.join(GOLDEN, name), encoding="utf-8") as file:
        return [json.loads(line) for line in file] if name.endswith(".jsonl") else json.load(file)


def samples(count, seed=1):
    chance = random.Random(seed)
    result = []
    for _ in range(count):
        a, b = chance.randint(2, 60), chance.randint(2, 60)
        result.append({"query": f"Tom has {a} pens and buys {b} more. How many pens does Tom have?",
                       "response": f"Tom has {a} + {b} = {a + b} pens.\n" * chance.randint(1, 3)
                                   + f"The answer is {a + b}."})
    return result


class TrainingTest(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text if isinstance(text, str) else json.dumps(text))
        return self.path(name)

    def config(self, **changes):
        """One file for each set of changes."""
        name = "-".join(["config", *(f"{key}={value}" for key, value in changes.items())])
        return self.write(f"{name}.json", {**SMALL, **changes})

    def data(self, count=40):
        return self.write("data.jsonl", "".join(json.dumps(sample) + "\n" for sample in samples(count)))

    def options(self, out, *more):
        """Of a small model from scratch; more of the same options later win."""
        return ["--config", self.config(), "--tokenizer", TINY, "--data", self.data(), "--out", self.path(out),
                "--batch-size", "8", "--lr", "1e-3", "--device", "cpu", "--max-length", "512", *more]

    def run_here(self, *arguments):
        """Exit status and what was said."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            try:
                status = main(list(arguments))
            except SystemExit as end: # argparse
                status = end.code
        return status, said.getvalue()

    def pass_here(self, *arguments):
        status, said = self.run_here(*arguments)
        self.assertEqual(status, 0, said)

    def start(self, *arguments, processes=1):
        """As users start it."""
        command = [os.path.join(TRAINING, "train.sh"), "-p", str(processes), *arguments]
        environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def finish(self, *arguments, processes=1):
        run = self.start(*arguments, processes=processes)
        said = run.communicate()[1]
        if "torchrun cannot start processes with this PyTorch" in said:
            self.skipTest(said.strip())
        self.assertEqual(run.returncode, 0, said)
        return said

    def metrics(self, out):
        with open(self.path(out, "metrics.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual([line["step"] for line in lines], list(range(1, len(lines) + 1)))
        return lines

    def losses(self, out):
        return [(line["ar_loss"], line["masked_loss"]) for line in self.metrics(out)]
