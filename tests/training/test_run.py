"""Whole runs of the trainer, as users start it."""
import importlib.util
import json
import os
import shutil
import time
import unittest

import torch
from safetensors.torch import load_file

import support
from refusion_train import checkpoint, config, lora, model, train

HAS_PEFT = importlib.util.find_spec("peft") is not None


class Processes(support.TrainingTest):
    def test_two_processes_and_one_give_the_same_losses(self):
        self.pass_here(*self.options("one", "--steps", "20"))
        self.finish(*self.options("two", "--steps", "20", "--micro-batch", "2"), processes=2)
        one, two = self.losses("one"), self.losses("two")
        self.assertEqual((len(one), len(two)), (20, 20))
        for a, b in zip(one, two):
            self.assertAlmostEqual(a[0], b[0], delta=1e-4)
            self.assertAlmostEqual(a[1], b[1], delta=1e-4)
        # AdamW's steps do not hang on the gradient's scale, so the losses alone would not show a wrong one.
        for a, b in zip(self.metrics("one"), self.metrics("two")):
            self.assertAlmostEqual(a["gradient_norm"], b["gradient_norm"], delta=1e-3 * a["gradient_norm"])
        if int(torch.__version__.split(".")[0]) >= 2:
            self.check_sharded(one)
        # That the steps did something: later losses are not those of the first weights.
        self.pass_here(*self.options("still", "--steps", "20", "--lr", "0", "--weight-decay", "0"))
        self.assertGreater(sum(self.losses("still")[-1]) - sum(one[-1]), 0.1)


    def check_sharded(self, want):
        """FSDP, going on from its own checkpoint, and one process from that of FSDP."""
        options = self.options("shards", "--steps", "20", "--save-every", "10", "--resume")
        self.finish(*options, "--sharding", "fsdp", processes=2)
        first = self.losses("shards")
        shutil.rmtree(self.path("shards", "checkpoints", "step-00000020"))
        shutil.copytree(self.path("shards"), self.path("alone"))
        self.finish(*options, "--sharding", "fsdp", processes=2)
        self.assertEqual(self.losses("shards"), first)
        self.finish(*[self.path("alone") if o == self.path("shards") else o for o in options])
        for a, b, c in zip(want, first, self.losses("alone")):
            for x, y, z in zip(a, b, c):
                self.assertAlmostEqual(x, y, delta=1e-4)
                self.assertAlmostEqual(x, z, delta=1e-4)


class Resuming(support.TrainingTest):
    def test_a_killed_run_goes_on_as_if_it_had_not_been(self):
        self.pass_here(*self.options("whole", "--steps", "24", "--save-every", "4"))
        options = self.options("killed", "--steps", "24", "--save-every", "4", "--resume")
        run = self.start(*options)
        path, deadline = self.path("killed", "metrics.jsonl"), time.monotonic() + 120
        while time.monotonic() < deadline and run.poll() is None:
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    if len(file.readlines()) >= 6:
                        break
            time.sleep(0.002)
        run.kill()
        run.communicate()
        at = checkpoint.latest(self.path("killed", "checkpoints")).step
        self.assertIn(at, range(4, 24, 4)) # killed in between, before the end
        self.assertIn(f"goes on behind step {at}", self.finish(*options))
        self.assertEqual(self.losses("killed"), self.losses("whole")) # bit for bit
        one, other = (load_file(self.path(out, "model", "model.safetensors")) for out in ("whole", "killed"))
        self.assertTrue(all(torch.equal(one[name], other[name]) for name in one))

    def test_what_would_be_another_run_is_refused(self):
        status, said = self.run_here(*self.options("out", "--steps", "2"))
        self.assertEqual(status, 0, said)
        folder = self.path("out", "checkpoints", "step-00000002")

        def refused(want, *more):
            status, said = self.run_here(*self.options("out", "--steps", "2", *more))
            self.assertEqual(status, 1)
            self.assertRegex(said, want)
            self.assertEqual(said.splitlines()[-1].count("train: "), 1)

        refused("holds checkpoints up to step 2; --resume goes on")
        refused("step-00000002: was trained with lr 0.001, have 0.002", "--resume", "--lr", "2e-3")
        refused("step-00000002: was trained with steps 2, have 3", "--resume", "--steps", "3")
        refused("step-00000002: was trained with data ", "--resume", "--max-length", "60")
        trainer = os.path.join(folder, "trainer.pt")
        shutil.copy(trainer, self.path("good"))
        with open(trainer, "r+b") as file:
            file.truncate(1000)
        refused("trainer.pt: ", "--resume")
        shutil.copy(self.path("good"), trainer)
        with open(os.path.join(folder, "config.json"), "r+", encoding="utf-8") as file:
            fields = json.load(file)
            file.seek(0)
            file.truncate()
            json.dump({**fields, "intermediate_size": 64}, file)
        refused(r"model.safetensors: \S+ is \S+, config.json wants ", "--resume")


class LowRank(support.TrainingTest):
    def options(self, out, *more):
        return ["--model", support.TINY, *super().options(out, "--lora", "4", *more)[4:]]

    @unittest.skipIf(HAS_PEFT, "peft is installed")
    def test_what_is_missing_is_told(self):
        status, said = self.run_here(*self.options("out"))
        self.assertEqual(status, 1)
        self.assertIn("train: --lora: the Python package peft is not installed", said)

    @unittest.skipUnless(HAS_PEFT, "peft is not installed")
    def test_a_run_goes_on(self):
        options = self.options("out", "--steps", "6", "--save-every", "3", "--resume")
        status, said = self.run_here(*options)
        self.assertEqual(status, 0, said)
        losses, trained = self.losses("out"), load_file(self.path("out", "model", "model.safetensors"))
        shutil.rmtree(self.path("out", "checkpoints", "step-00000006"))
        status, said = self.run_here(*options)
        self.assertIn("goes on behind step 3", said)
        self.assertEqual(self.losses("out"), losses)
        before = load_file(os.path.join(support.TINY, "model.safetensors"))
        again = load_file(self.path("out", "model", "model.safetensors"))
        self.assertEqual(before.keys(), trained.keys())
        for name, tensor in trained.items():
            self.assertTrue(torch.equal(tensor, again[name]), name)
            self.assertEqual(torch.equal(tensor, before[name]), "norm" in name, name)

    @unittest.skipUnless(HAS_PEFT, "peft is not installed")
    def test_merged_is_what_was_trained(self):
        network = model.Qwen3(config.parse(support.SMALL, "test"))
        network.initialise(torch.Generator().manual_seed(1))
        lora.add(network, 4, 8)
        for name, parameter in network.named_parameters():
            if ".lora_B" in name: # begins as 0
                torch.nn.init.normal_(parameter, std=0.1)
        alone, rows = model.Qwen3(network.config), torch.arange(40)[None]
        with torch.no_grad():
            alone.load_state_dict(lora.merged(network, network.state_dict()))
            self.assertLess(float((network(rows, rows) - alone(rows, rows)).abs().max()), 1e-4)


class Starting(support.TrainingTest):
    def test_from_a_model(self):
        """From a folder whose embedding has other rows than the tokenizer; with everything that runs leave out."""
        self.run_here(*self.options("first", "--steps", "1"))
        folder = self.path("stock")
        shutil.copytree(self.path("first", "model"), folder)
        weights = load_file(os.path.join(folder, "model.safetensors"))
        embedding = weights["model.embed_tokens.weight"]
        self.assertEqual(embedding.dtype, torch.bfloat16)
        options = self.options("second", "--steps", "3", "--lr", "0", "--weight-decay", "0", "--gradient-checkpointing")
        from safetensors.torch import save_file
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            weights[name] = torch.cat((weights[name], weights[name][:25] + 1)) # stock Qwen3's are padded too
        save_file(weights, os.path.join(folder, "model.safetensors"))
        with open(os.path.join(folder, "config.json"), "r+", encoding="utf-8") as file:
            fields = json.load(file)
            file.seek(0)
            file.truncate()
            fields.pop("mask_token_id")
            json.dump({**fields, "vocab_size": 696, "kept": "as it is"}, file)
        status, said = self.run_here("--model", folder, *options[4:])
        self.assertEqual(status, 0, said)
        trained = load_file(self.path("second", "model", "model.safetensors"))
        self.assertTrue(torch.equal(trained["model.embed_tokens.weight"], embedding))
        with open(self.path("second", "model", "config.json"), encoding="utf-8") as file:
            have = json.load(file)
        self.assertEqual([have[k] for k in ("vocab_size", "mask_token_id", "eos_token_id", "kept", "torch_dtype")],
                         [671, 670, 668, "as it is", "bfloat16"])
        self.assertEqual(os.stat(self.path("second", "model", "model.safetensors")).st_mode & 0o777,
                         os.stat(self.path("second", "model", "config.json")).st_mode & 0o777)

    def test_it_learns(self):
        """Eight samples by heart."""
        options = self.options("out", "--steps", "60", "--lr", "1e-2", "--warmup", "5", "--log-every", "20")
        data = options.index("--data") + 1
        self.data(8)
        status, said = self.run_here(*options[:data], self.data(8), *options[data + 1:])
        self.assertEqual(status, 0, said)
        losses = [sum(pair) for pair in self.losses("out")]
        self.assertLess(sum(losses[-10:]), 0.35 * sum(losses[:10]))
        self.assertRegex(said, r"step 60/60  loss \S+ \(ar \S+, masked \S+\)  lr \S+  gradient \S+  \d+ tokens/s")

    def test_causal_first(self):
        """What reads already goes on with ReFusion's objective."""
        causal = self.options("first", "--steps", "3", "--objective", "causal")
        status, said = self.run_here(*causal)
        self.assertEqual(status, 0, said)
        self.assertTrue(all(one > 0 and other == 0 for one, other in self.losses("first")))
        status, said = self.run_here("--model", self.path("first", "model"), *self.options("second", "--steps", "2")[4:])
        self.assertEqual(status, 0, said)
        self.assertTrue(any(other > 0 for _, other in self.losses("second")))
        status, said = self.run_here(*causal[:-2], "--resume")
        self.assertEqual(status, 1)
        self.assertRegex(said, 'step-00000003: was trained with objective "?causal"?, have "?refusion')

    def test_begun_slots(self):
        """Other losses than without, and a run goes on only with the same share."""
        def run(name, *more):
            return self.run_here(*self.options(name, "--steps", "3", *more))

        self.assertEqual([run("plain")[0], run("begun", "--begun-slots", "1")[0]], [0, 0])
        self.assertNotEqual(self.losses("plain"), self.losses("begun"))
        status, said = run("begun", "--begun-slots", "0.5", "--resume")
        self.assertEqual(status, 1)
        self.assertRegex(said, "step-00000003: was trained with begun_slots 1.0?, have 0.5")
        self.assertEqual(run("begun", "--begun-slots", "1", "--resume")[0], 0)

    def test_the_rate(self):
        import argparse
        options = argparse.Namespace(lr=1.0, min_lr=0.1, warmup=4.0)
        rates = [train.learning_rate(step, 24, options) for step in range(24)]
        self.assertEqual(rates[:5], [0.25, 0.5, 0.75, 1.0, 1.0])
        self.assertAlmostEqual(rates[14], 0.55)
        self.assertTrue(all(a >= b for a, b in zip(rates[4:], rates[5:])))
        self.assertLess(rates[-1], 0.11)


class BadInput(support.TrainingTest):
    def refused(self, want, *more, status=1):
        have, said = self.run_here(*self.options("out", "--steps", "1", *more))
        self.assertEqual(have, status, said)
        self.assertRegex(said.splitlines()[-1], want)

    def test_one_line(self):
        good = json.dumps(support.samples(1)[0])
        bad = self.write("bad.jsonl", f"{good}\n{{\"query\": \"a\"}}\n{good}\n")
        self.refused(r'bad.jsonl:2: no field "response" \(--malformed skip goes on', "--data", bad)
        self.refused("empty.json: no samples that can be trained on", "--data", self.write("empty.json", "[]"))
        self.refused("nothing.json: No such file", "--data", self.path("nothing.json"))
        self.refused("--batch-size: 8 does not divide into 1 processes with --micro-batch 3", "--micro-batch", "3")
        self.refused("--max-length: 513, the model has 512 positions", "--max-length", "513")
        self.refused("--sharding fsdp: wants several processes", "--sharding", "fsdp")
        self.refused("config.json: vocab_size is 0, wanted", "--config", self.write("zero.config.json",
                                                                                    {**support.SMALL, "vocab_size": 0}))
        self.refused("mask_token_id is 3, but .* has <.mask.> as 670", "--config",
                     self.write("mask.config.json", {**support.SMALL, "mask_token_id": 3}))
        self.refused("--batch-size: ", "--batch-size", "0", status=2)
        self.refused("--min-lr: 1.0, wanted at most --lr", "--min-lr", "1", status=2)
        self.refused("--begun-slots: 2, wanted a number above 0, at most 1", "--begun-slots", "2", status=2)
        self.refused("--begun-slots: is of --objective refusion", "--begun-slots", "1", "--objective", "causal", status=2)
        if not torch.cuda.is_available():
            self.refused("--device cuda: 1 processes on this machine and 0 GPUs", "--device", "cuda")

    def test_malformed_samples_are_skipped_by_wish(self):
        good = json.dumps(support.samples(1)[0])
        bad = self.write("bad.jsonl", f"{good}\n{{\"query\": \"a\"}}\n")
        status, said = self.run_here(*self.options("out", "--steps", "1", "--data", bad, "--malformed", "skip"))
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r'bad.jsonl:2: no field "response"; skipped')
        self.assertRegex(said, "1 samples, .* tokens, 1 malformed")

    def test_the_script(self):
        import subprocess
        script = os.path.join(support.TRAINING, "train.sh")
        for arguments, want in ((("-n", "x"), "-n: 'x', wanted a number"), (("-n", "2"), "-n 2: wants -m"),
                                (("-r", "1"), "-r: 1, wanted below"), (("-q",), "-n   machines that take part")):
            run = subprocess.run([script, *arguments], capture_output=True, text=True)
            self.assertEqual(run.returncode, 2)
            self.assertIn(want, run.stderr)


if __name__ == "__main__":
    unittest.main()
