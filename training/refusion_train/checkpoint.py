"""Checkpoints: folders that appear whole or not at all.

    step-00000020/   config.json, model.safetensors (f32), tokenizer: a model folder like any other
                     trainer.pt: optimizer, random numbers;  state.json: the step, and what the run was started with
A checkpoint is written under another name, brought to the disk, and renamed. Only then older ones go.
"""
import json
import os
import re
import shutil
from dataclasses import dataclass
from typing import Any, Callable

import torch

from .errors import TrainError, describe, read_json

UNFINISHED = ".writing-"
REPLACED = ".replaced-"
NAME = re.compile(r"step-(\d{8})")


@dataclass
class Saved:
    folder: str
    step: int
    settings: dict[str, Any] # what must be the same for the run to go on as it would have
    tokens: int              # trained on so far


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_folder(parent: str, name: str, fill: Callable[[str], None]) -> str:
    """A folder filled by `fill`, which stands there whole or not at all; one of that name is replaced."""
    os.makedirs(parent, exist_ok=True)
    made, final = os.path.join(parent, UNFINISHED + name), os.path.join(parent, name)
    shutil.rmtree(made, ignore_errors=True)
    os.mkdir(made)
    fill(made)
    for file in os.listdir(made):
        _sync(os.path.join(made, file))
    _sync(made)
    if os.path.exists(final): # of an earlier run; a rename cannot replace a folder that is not empty
        os.rename(final, os.path.join(parent, REPLACED + name))
    os.rename(made, final)
    _sync(parent)
    shutil.rmtree(os.path.join(parent, REPLACED + name), ignore_errors=True)
    return final


def _steps(parent: str) -> list[int]:
    names = os.listdir(parent) if os.path.isdir(parent) else []
    return sorted(int(match[1]) for match in map(NAME.fullmatch, names) if match)


def write(parent: str, saved: Saved, keep: int, fill: Callable[[str], None], trainer: dict) -> str:
    def all_files(folder: str) -> None:
        fill(folder)
        torch.save(trainer, os.path.join(folder, "trainer.pt"))
        with open(os.path.join(folder, "state.json"), "w", encoding="utf-8") as file:
            json.dump({"step": saved.step, "tokens": saved.tokens, "settings": saved.settings}, file, indent=1)

    folder = write_folder(parent, f"step-{saved.step:08}", all_files)
    for step in _steps(parent)[:-keep]:
        gone = os.path.join(parent, f"{UNFINISHED}gone-{step:08}") # half of a checkpoint must not look like one
        os.rename(os.path.join(parent, f"step-{step:08}"), gone)
        shutil.rmtree(gone)
    return folder


def tidy(parent: str) -> None:
    """Removes what a killed run left half-written; what it was about to replace comes back."""
    for name in os.listdir(parent) if os.path.isdir(parent) else []:
        path, final = os.path.join(parent, name), os.path.join(parent, name.removeprefix(REPLACED))
        if name.startswith(REPLACED) and not os.path.exists(final):
            os.rename(path, final)
        elif name.startswith((UNFINISHED, REPLACED)):
            shutil.rmtree(path)


def latest(parent: str) -> Saved | None:
    steps = _steps(parent)
    if not steps:
        return None
    folder = os.path.join(parent, f"step-{steps[-1]:08}")
    path = os.path.join(folder, "state.json")
    state = read_json(path)
    for key, kind in (("step", int), ("tokens", int), ("settings", dict)):
        if not isinstance(state.get(key), kind):
            raise TrainError(f"{path}: {key} is {describe(state.get(key))}, wanted {kind.__name__}")
    return Saved(folder, state["step"], state["settings"], state["tokens"])


def check_settings(saved: Saved, settings: dict[str, Any]) -> None:
    for key, value in settings.items():
        if saved.settings.get(key) != value:
            raise TrainError(f"{saved.folder}: was trained with {key} {describe(saved.settings.get(key))}, "
                             f"have {describe(value)}: the run cannot go on")


def read_trainer(folder: str) -> dict:
    path = os.path.join(folder, "trainer.pt")
    try:
        # PyTorch 1 cannot read floats in this safer way.
        safe = {"weights_only": True} if int(torch.__version__.split(".")[0]) >= 2 else {}
        return torch.load(path, map_location="cpu", **safe)
    except Exception as error: # torch raises what its parts raise
        raise TrainError(f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None
