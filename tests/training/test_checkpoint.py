"""Folders that appear whole or not at all: the writer is killed before every call that changes the disk."""
import os
import shutil
import signal
import unittest

import torch

import support
from refusion_train import checkpoint, config, model, weights
from refusion_train.errors import TrainError
from refusion_train.tokenizer import ChatTokenizer

CALLS = ((os, "mkdir"), (os, "makedirs"), (os, "rename"), (os, "fsync"), (os, "rmdir"), (os, "unlink"),
         (torch, "save"), (shutil, "rmtree"))


def kill_before(call):
    """Wraps the calls so that this process dies, as by kill -9, before the one that is number `call` from 1."""
    count = 0

    def wrap(owner, name):
        real = getattr(owner, name)

        def wrapped(*arguments, **more):
            nonlocal count
            count += 1
            if count == call:
                if name == "save": # half of a file
                    with open(arguments[1], "wb") as file:
                        file.write(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **more)
        setattr(owner, name, wrapped)

    for owner, name in CALLS:
        wrap(owner, name)


def in_child(work):
    """Exit status of a child that does the work, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Kills(support.TrainingTest):
    def write_step(self, step):
        def fill(folder):
            for name in ("model.safetensors", "config.json"):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(f"{name} of {step}")
        saved = checkpoint.Saved("", step, {"lr": 1.0}, step * 10)
        return checkpoint.write(self.path("c"), saved, 2, fill, {"optimizer": {"step": step}})

    def assert_whole(self, saved):
        self.assertEqual(saved.tokens, saved.step * 10)
        self.assertEqual(checkpoint.read_trainer(saved.folder), {"optimizer": {"step": saved.step}})
        for name in ("model.safetensors", "config.json"):
            with open(os.path.join(saved.folder, name), encoding="utf-8") as file:
                self.assertEqual(file.read(), f"{name} of {saved.step}")

    def test_a_checkpoint_is_whole_whenever_the_writer_is_killed(self):
        seen = set()
        for call in range(1, 100):
            shutil.rmtree(self.path("c"), ignore_errors=True)
            for step in (1, 2):
                self.write_step(step)

            def work():
                kill_before(call)
                self.write_step(3)
            status = in_child(work)
            saved = checkpoint.latest(self.path("c"))
            self.assertIn(saved.step, (2, 3))
            self.assert_whole(saved)
            seen.add(saved.step)
            checkpoint.tidy(self.path("c"))
            self.assertFalse([name for name in os.listdir(self.path("c")) if not name.startswith("step-")])
            self.write_step(4)
            self.assert_whole(checkpoint.latest(self.path("c")))
            if status == 0:
                break
            self.assertEqual(status, -signal.SIGKILL)
        self.assertGreater(call, 10) # so many places where it was killed
        self.assertEqual(seen, {2, 3})

    def test_a_replaced_model_is_the_old_or_the_new_one(self):
        def write(text):
            def fill(folder):
                with open(os.path.join(folder, "file"), "w", encoding="utf-8") as file:
                    file.write(text)
            checkpoint.write_folder(self.folder, "model", fill)

        seen = set()
        for call in range(1, 100):
            write("old")

            def work():
                kill_before(call)
                write("new")
            status = in_child(work)
            checkpoint.tidy(self.folder)
            with open(self.path("model", "file"), encoding="utf-8") as file:
                seen.add(file.read())
            self.assertEqual(os.listdir(self.folder), ["model"])
            if status == 0:
                break
        self.assertGreater(call, 6)
        self.assertEqual(seen, {"old", "new"})


class ModelFolders(support.TrainingTest):
    def saved(self, dtype=torch.float32, shard_bytes=weights.SHARD_BYTES, **changes):
        network = model.Qwen3(config.parse({**support.SMALL, **changes}, "test"))
        network.initialise(torch.Generator().manual_seed(1))
        chat, folder = ChatTokenizer(support.TINY), self.path(f"model{len(os.listdir(self.folder))}")
        os.mkdir(folder)
        fields = weights.fields_for({**support.SMALL, **changes}, chat)
        weights.save_model(folder, network.state_dict(), fields, chat, dtype, shard_bytes)
        return network, folder

    def loaded(self, folder, resize=None, **changes):
        fields, shape = config.load(folder)
        network = model.Qwen3(config.parse({**fields, **changes}, "test"))
        weights.load_weights(network, folder, resize)
        return network

    def test_what_is_saved_is_loaded(self):
        for changes in ({}, {"tie_word_embeddings": True}):
            for shard_bytes in (weights.SHARD_BYTES, 30000):
                network, folder = self.saved(shard_bytes=shard_bytes, **changes)
                self.assertEqual(os.path.exists(os.path.join(folder, "model.safetensors.index.json")),
                                 shard_bytes == 30000)
                have, want = self.loaded(folder).state_dict(), network.state_dict()
                self.assertEqual(have.keys(), want.keys())
                for name in want:
                    self.assertTrue(torch.equal(have[name], want[name]), name)

    def test_the_vocabulary_is_resized(self):
        network, folder = self.saved()
        old = network.model.embed_tokens.weight
        for rows in (700, 650):
            new = self.loaded(folder, torch.Generator().manual_seed(0), vocab_size=rows).model.embed_tokens.weight
            kept = min(rows, 671)
            self.assertTrue(torch.equal(new[:kept], old[:kept]))
            self.assertEqual(len({tuple(row) for row in new.tolist()}), rows) # no two new rows are equal

    def refused(self, want, folder, **changes):
        with self.assertRaisesRegex(TrainError, want) as caught:
            self.loaded(folder, **changes)
        self.assertNotIn("\n", str(caught.exception))

    def test_what_does_not_fit_is_refused(self):
        _, folder = self.saved()
        self.refused(r"model.safetensors: \S+mlp.\S+ is \S+, config.json wants \S+", folder, intermediate_size=64)
        self.refused("is 671x32, config.json wants 700x32", folder, vocab_size=700)
        self.refused("model.layers.2.* is missing, and 10 more", folder, num_hidden_layers=3)
        self.refused("model.layers.1.* is no tensor of a model of this config", folder, num_hidden_layers=1)
        path = os.path.join(folder, "model.safetensors")
        with open(path, "r+b") as file:
            file.truncate(os.path.getsize(path) - 8)
        self.refused("model.safetensors: ", folder)
        os.remove(path)
        self.refused("has neither model.safetensors nor", folder)

    def test_other_networks_are_refused(self):
        for key, value, want in (("attention_bias", True, "attention_bias is true, wanted false"),
                                 ("model_type", "llama", 'model_type is "llama", wanted "qwen3"'),
                                 ("rope_scaling", {"rope_type": "yarn"}, 'rope_scaling.rope_type is "yarn"'),
                                 ("hidden_size", "x", 'hidden_size is "x", wanted a whole number'),
                                 ("rope_theta", None, "rope_theta is null"),
                                 ("num_key_value_heads", 3, "num_attention_heads is 4, wanted a multiple"),
                                 ("use_sliding_window", True, "use_sliding_window is true")):
            with self.assertRaisesRegex(TrainError, "^test: " + want):
                config.parse({**support.SMALL, key: value}, "test")


if __name__ == "__main__":
    unittest.main()
