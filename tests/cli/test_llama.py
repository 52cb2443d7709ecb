#!/usr/bin/env python3
"""Files go both ways between this program and llama.cpp: what `quantize` writes is loaded there and continues a text
with the same tokens, and what llama-quantize writes is loaded here.

Needs llama-server and llama-quantize, started by the words in RF_LLAMA, brought by scripts/setup.sh --tests, or on
PATH; else exit status 77 (skipped).
"""
import contextlib
import http.client
import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time

from support import ROOT, TINY, ProgramTest, main, run

BROUGHT = os.path.join(ROOT, ".deps", "llama", "run")
LAUNCHER = shlex.split(os.environ.get("RF_LLAMA", "")) or [BROUGHT] * os.path.exists(BROUGHT)
PROMPTS = [
    "<|im_start|>user\nWrite a Python function sum_even(nums) that sums the even numbers in a list.<|im_end|>\n"
    "<|im_start|>assistant\n",
    "<|im_start|>user\nTom has 12 apples. Tom buys 3 bags with 4 apples each. How many apples does Tom have now?"
    "<|im_end|>\n<|im_start|>assistant\n",
    "Tom has 12 apples. Tom buys 3 bags",
    "The answer is",
]


TOKENS = 40


def quantize(*arguments):
    result = subprocess.run(LAUNCHER + ["llama-quantize"] + list(arguments), capture_output=True, text=True, check=False,
                            stdin=subprocess.DEVNULL, timeout=300)
    if result.returncode != 0:
        raise AssertionError(f"llama-quantize failed: {result.stderr[-2000:]}")


class Connection(http.client.HTTPConnection):
    """To a socket in a folder: a machine without a network has no ports either."""

    def __init__(self, path):
        super().__init__("localhost", timeout=300)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


@contextlib.contextmanager
def server(model):
    """llama-server with `model`; gives a function from a prompt to the text that follows. (llama-completion would be
    shorter, but its log thread may lose the end of a text: github.com/ggml-org/llama.cpp/pull/25504.)"""
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
        path = os.path.join(folder, "llama.sock")
        with subprocess.Popen(LAUNCHER + ["llama-server", "-m", model, "--host", path, "-dev", "none", "-ngl", "0",
                                          "--parallel", "1", "--ctx-size", "512", "--no-warmup", "--offline"],
                              stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:

            def ask(method, where, body=None):
                connection = Connection(path)
                connection.request(method, where, body and json.dumps(body), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())

            def ready():
                try:
                    return ask("GET", "/health")[0] == 200
                except OSError:
                    return False

            def complete(prompt):
                status, answer = ask("POST", "/completion", {"prompt": prompt, "n_predict": TOKENS, "temperature": 0,
                                                             "cache_prompt": False})
                if status != 200:
                    raise AssertionError(f"llama-server: {answer}")
                return answer["content"]

            try:
                end = time.monotonic() + 120
                while not ready():
                    if process.poll() is not None or time.monotonic() > end:
                        log.seek(0)
                        raise AssertionError(f"llama-server does not start: {log.read()[-2000:]}")
                    time.sleep(0.05)
                yield complete
            finally:
                process.kill()


def plain_model(folder):
    """The tiny model without its mask token: both programs then decode it as plain Qwen3."""
    model = os.path.join(folder, "plain")
    shutil.copytree(TINY, model)
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        os.remove(os.path.join(model, name))

    def edit(name, change):
        path = os.path.join(model, name)
        with open(path, encoding="utf-8") as file:
            tree = json.load(file)
        change(tree)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(tree, file)

    def drop_added(tree):
        tree["added_tokens"] = [token for token in tree["added_tokens"] if token["content"] != "<|mask|>"]

    def drop_config(tree):
        del tree["mask_token"], tree["added_tokens_decoder"]["670"]

    edit("config.json", lambda tree: tree.pop("mask_token_id"))
    edit("tokenizer.json", drop_added)
    edit("tokenizer_config.json", drop_config)
    return model


class Llama(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.model = plain_model(self.folder)

    def ours(self, model, prompt):
        return self.check_works(run("generate", "-m", model, "--decode", "ar", "--raw", "-n", str(TOKENS), "-p", prompt,
                                    "--quiet")).rstrip("\n")

    def test_ours_there(self):
        for kind in ("f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k"):
            out = os.path.join(self.folder, f"{kind}.gguf")
            self.assertEqual(run("quantize", self.model, out, "--type", kind, "--quiet", driver=None).returncode, 0)
            with server(out) as complete:
                for prompt in PROMPTS if kind == "f16" else PROMPTS[:1]:
                    with self.subTest(kind=kind, prompt=prompt):
                        self.compare(kind, complete(prompt).rstrip("\n"), self.ours(out, prompt))

    def compare(self, kind, theirs, ours):
        if kind in ("f16", "bf16"):
            self.assertEqual(theirs, ours)
        else:
            # llama.cpp rounds the activations that meet quantized weights, each kind of CPU in its own way: one had another
            # 36th token than the others in Q4_0 and Q6_K. Wrong weights differ in the first ones.
            self.assertIn("def sum_even(nums):\n    result = 0\n", os.path.commonprefix([theirs, ours]))

    def test_theirs_here(self):
        source, out = os.path.join(self.folder, "f32.gguf"), os.path.join(self.folder, "theirs.gguf")
        self.assertEqual(run("quantize", self.model, source, "--type", "f32", driver=None).returncode, 0)
        wanted = json.loads(self.check_works(run("inspect", "-m", source, "--json", driver=None)))
        for kind in ("F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M", "Q6_K"):
            with self.subTest(kind):
                quantize(source, out, kind)
                found = json.loads(self.check_works(run("inspect", "-m", out, "--json", driver=None)))
                for part in ("config", "tokenizer", "parameters", "warnings"):
                    self.assertEqual(found[part], wanted[part])
                self.assertIn("def sum_even(nums):", self.ours(out, PROMPTS[0]))


if __name__ == "__main__":
    if not LAUNCHER and not (shutil.which("llama-server") and shutil.which("llama-quantize")):
        raise SystemExit(77)
    main()
