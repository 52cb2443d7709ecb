"""A training run."""
import contextlib
import math
import os
import time
from argparse import Namespace
from dataclasses import dataclass

import torch

from . import checkpoint, config, data, lora, sharding, weights
from .errors import TrainError
from .metrics import Metrics, say
from .model import Qwen3
from .objective import Batch, collate, terms
from .tokenizer import NEW_TOKENS, ChatTokenizer, check_ids
from .workers import Workers

# Of the options: what another value of would make another run.
FIXED = ("batch_size", "lr", "min_lr", "warmup", "weight_decay", "beta2", "clip", "seed", "max_length", "objective",
         "begun_slots", "lora", "lora_alpha")


def learning_rate(step: int, steps: int, options: Namespace) -> float:
    """Of the step that is number `step` from 0: rises over the warm-up, then falls along half a cosine."""
    warmup = options.warmup if options.warmup >= 1 else options.warmup * steps
    if step < warmup:
        return options.lr * min(1.0, (step + 1) / warmup)
    share = (step - warmup) / max(1.0, steps - warmup)
    return options.min_lr + (options.lr - options.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


def make_optimizer(model: torch.nn.Module, options: Namespace) -> torch.optim.AdamW:
    """Norms do not decay."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    norms = [p for name, p in trained if "norm" in name] # by name: FSDP's shards have no shape
    groups = [{"params": [p for name, p in trained if "norm" not in name], "weight_decay": options.weight_decay}]
    if norms:
        groups.append({"params": norms, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, options.beta2))


@dataclass
class Sums:
    """Of a step, over all samples and processes."""
    next_token: float
    masked: float
    gradient: float # its length before clipping
    tokens: float


class Run:
    def __init__(self, options: Namespace, workers: Workers):
        self.options, self.workers = options, workers
        source = options.tokenizer or options.model
        self.tokenizer = ChatTokenizer(source)
        self.checkpoints = os.path.join(options.out, "checkpoints")
        self.saved = self._find_saved()
        self._load_data()
        self._load_model()
        self.step, self.tokens = 0, 0
        if self.saved:
            self._restore()

    # ---- What a run begins with ----------------------------------------------------------------------------------

    def _find_saved(self) -> checkpoint.Saved | None:
        os.makedirs(self.options.out, exist_ok=True)
        if self.workers.first:
            for folder in (self.options.out, self.checkpoints):
                checkpoint.tidy(folder)
        self.workers.barrier()
        saved = checkpoint.latest(self.checkpoints)
        if saved and not self.options.resume:
            raise TrainError(f"{self.options.out}: holds checkpoints up to step {saved.step}; --resume goes on, "
                             "another --out begins anew")
        return saved

    def _load_data(self) -> None:
        options, first = self.options, self.workers.first
        cache = options.cache or os.path.join(options.out, "data")
        failure = folder = None
        try:
            folder = data.prepare(options.data, self.tokenizer, options.max_length, options.malformed == "skip",
                                  cache, self.workers.local_rank == 0, say if first else lambda text: None)
        except TrainError as error:
            failure = str(error)
        self.workers.agree(failure)
        self.data = data.Dataset(folder, options.seed, self.tokenizer.mask, options.objective == "causal",
                                 options.begun_slots or 0.0)
        meta, batch = self.data.meta, options.batch_size
        if len(set(self.workers.gather(meta["digest"]))) > 1: # machines with files of their own
            raise TrainError("--data: the processes have read different samples")
        self.steps = options.steps or math.ceil(options.epochs * len(self.data) / batch)
        self.settings = {"data": meta["digest"], "steps": self.steps, **{key: getattr(options, key) for key in FIXED}}
        if first:
            say(f"{meta['samples']} samples, {meta['tokens']} tokens; left out: {meta['too_long']} longer than "
                f"{options.max_length} tokens, {meta['malformed']} malformed")
        mine, rest = divmod(batch, self.workers.count)
        self.micro = options.micro_batch or mine
        if rest or mine % self.micro:
            raise TrainError(f"--batch-size: {batch} does not divide into {self.workers.count} processes with "
                             f"--micro-batch {self.micro}")

    def _load_model(self) -> None:
        options = self.options
        if self.saved:
            checkpoint.check_settings(self.saved, self.settings)
            self.trainer = checkpoint.read_trainer(self.saved.folder)
        # With --lora a checkpoint's weights hold the additions merged in; what is trained stands in trainer.pt.
        resumed = self.saved and not options.lora
        source = self.saved.folder if resumed else options.model
        self.plain = model = self._make_model(source, bool(resumed))
        if options.lora:
            torch.manual_seed(data.seed_of("lora", options.seed))
            lora.add(model, options.lora, options.lora_alpha or 2 * options.lora)
            if self.saved:
                model.load_state_dict(self.trainer["trained"], strict=False)
        model.model.gradient_checkpointing = options.gradient_checkpointing
        bf16 = options.precision == "bf16" or (options.precision == "auto" and self.workers.device.type == "cuda")
        self.laid_out = sharding.lay_out(model, self.workers, options.sharding, bf16, bool(options.lora))
        self.optimizer = make_optimizer(self.laid_out.module, options)

    def _make_model(self, source: str | None, resumed: bool) -> Qwen3:
        options, file = self.options, source or self.options.config
        fields, shape = config.load(file)
        check_ids(self.tokenizer, fields, file)
        if options.max_length > shape.max_positions:
            raise TrainError(f"--max-length: {options.max_length}, the model has {shape.max_positions} positions "
                             "(max_position_embeddings)")
        if source and self.tokenizer.size > shape.vocab + len(NEW_TOKENS):
            raise TrainError(f"{file}: vocab_size is {shape.vocab}, the tokenizer in {self.tokenizer.folder} has "
                             f"{self.tokenizer.size} tokens: they do not belong together")
        self.fields = weights.fields_for(fields, self.tokenizer)
        model = Qwen3(config.parse(self.fields, file))
        generator = torch.Generator().manual_seed(data.seed_of("weights", options.seed))
        if source:
            weights.load_weights(model, source, None if resumed else generator)
        else:
            model.initialise(generator)
        return model

    def _restore(self) -> None:
        self.step, self.tokens = self.saved.step, self.saved.tokens
        try:
            self.laid_out.load_optimizer(self.optimizer, self.trainer["optimizer"])
        except (KeyError, ValueError) as error:
            raise TrainError(f"{self.saved.folder}/trainer.pt: does not fit the model: {error}") from None
        states = self.trainer["random"]
        if len(states) == self.workers.count:
            self._set_random(states[self.workers.rank])
        del self.trainer
        if self.workers.first:
            say(f"goes on behind step {self.step} from {self.saved.folder}")

    def _get_random(self) -> dict:
        gpu = self.workers.device.type == "cuda"
        return {"cpu": torch.get_rng_state(), "gpu": torch.cuda.get_rng_state(self.workers.device) if gpu else None}

    def _set_random(self, state: dict) -> None:
        torch.set_rng_state(state["cpu"])
        if state["gpu"] is not None and self.workers.device.type == "cuda":
            torch.cuda.set_rng_state(state["gpu"], self.workers.device)

    # ---- A step --------------------------------------------------------------------------------------------------

    def _batches(self) -> tuple[list[Batch], int, int]:
        """This process's share of the step, its next-token labels, its tokens."""
        size = self.options.batch_size
        mine = size // self.workers.count
        start = self.step * size + self.workers.rank * mine
        # By length, so that little of a micro batch is padding: what a step adds up does not hang on the order.
        samples = sorted((self.data.sample(n) for n in range(start, start + mine)), key=lambda sample: len(sample.tokens))
        batches = [collate(samples[i:i + self.micro], self.tokenizer.pad) for i in range(0, mine, self.micro)]
        return batches, sum(s.next_token_labels() for s in samples), sum(len(s.tokens) for s in samples)

    def take_step(self) -> Sums:
        batches, labels, tokens = self._batches()
        # The mean over the labels of all processes and micro batches, not a mean of their means: the loss of a step
        # does not hang on how its samples are shared out.
        labels_all, tokens_all = self.workers.sums(labels, tokens)
        next_token = masked = 0.0
        for number, batch in enumerate(batches, 1):
            batch = batch.to(self.workers.device)
            last = number == len(batches)
            with contextlib.nullcontext() if last else self.laid_out.no_sync():
                with self.laid_out.autocast():
                    cross_entropy = self.laid_out.module(batch.tokens, batch.positions, batch.labels)
                one, other = terms(cross_entropy, batch)
                one, other = one / max(1, labels_all), other / self.options.batch_size
                # Gradients are averaged over the processes; their sum is wanted.
                ((one + other) * self.workers.count).backward()
            next_token += one.item()
            masked += other.item()
        next_token, masked = self.workers.sums(next_token, masked)
        if not math.isfinite(next_token + masked):
            raise TrainError(f"step {self.step + 1}: the loss is {next_token + masked}; the checkpoints before it are "
                             "good, a lower --lr may help")
        norm = self.laid_out.clip(self.options.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.steps, self.options)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += int(tokens_all)
        return Sums(next_token, masked, norm, tokens_all)

    # ---- What comes out ------------------------------------------------------------------------------------------

    def _whole_state(self) -> dict[str, torch.Tensor]:
        state = self.laid_out.state()
        with torch.no_grad():
            return lora.merged(self.plain, state) if self.options.lora else state

    def save(self) -> None:
        """All processes take part, the first one writes."""
        random = self.workers.gather(self._get_random())
        state = self._whole_state()
        trainer = {"optimizer": self.laid_out.optimizer_state(self.optimizer), "random": random}
        if self.options.lora:
            trainer["trained"] = {n: p.detach().cpu() for n, p in self.plain.named_parameters() if p.requires_grad}
        failure = None
        if self.workers.first:
            saved = checkpoint.Saved("", self.step, self.settings, self.tokens)
            try:
                folder = checkpoint.write(
                    self.checkpoints, saved, self.options.keep,
                    lambda made: weights.save_model(made, state, self.fields, self.tokenizer, torch.float32), trainer)
                say(f"wrote {folder}")
            except OSError as error:
                failure = f"{self.checkpoints}: {error.strerror}"
        self.workers.agree(failure)

    def export(self) -> None:
        """The trained model, in bf16."""
        state = self._whole_state()
        failure = None
        if self.workers.first:
            try:
                folder = checkpoint.write_folder(
                    self.options.out, "model",
                    lambda made: weights.save_model(made, state, self.fields, self.tokenizer, torch.bfloat16))
                say(f"wrote {folder}")
            except OSError as error:
                failure = f"{self.options.out}: {error.strerror}"
        self.workers.agree(failure)

    def _report(self, metrics: Metrics, rate: float, sums: Sums, seconds: float) -> None:
        options = self.options
        loss, speed = sums.next_token + sums.masked, sums.tokens / seconds
        metrics.write({"step": self.step, "loss": loss, "ar_loss": sums.next_token, "masked_loss": sums.masked,
                       "lr": rate, "gradient_norm": sums.gradient, "tokens": self.tokens,
                       "epoch": self.step * options.batch_size / len(self.data), "seconds": round(seconds, 4),
                       "tokens_per_second": round(speed, 1)})
        if self.step % options.log_every == 0 or self.step in (1, self.steps):
            say(f"step {self.step}/{self.steps}  loss {loss:.4f} (ar {sums.next_token:.4f}, masked {sums.masked:.4f})"
                f"  lr {rate:.2e}  gradient {sums.gradient:.2f}  {speed:.0f} tokens/s")

    def train(self) -> None:
        metrics = Metrics(self.options.out, self.step, self.options.tensorboard) if self.workers.first else None
        self.plain.train()
        while self.step < self.steps:
            start = time.monotonic()
            sums = self.take_step()
            if metrics:
                rate = self.optimizer.param_groups[0]["lr"]
                self._report(metrics, rate, sums, time.monotonic() - start)
            if self.step % self.options.save_every == 0 or self.step == self.steps:
                self.save()
        if metrics:
            metrics.close()
        self.export()
