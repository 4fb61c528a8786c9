"""Trains the demo model on rendered clips and exports it in the published layout.

    python train.py --output runs --minutes 150        # one process per CPU core
    python train.py --output runs --resume runs/state.pt
    python train.py --output runs --resume weights --stages events stories lora

The stages: "eyes" trains the vision tower on images with known cells; "basics" trains on clips without text and on
questions about texts without a clip; "clips" and "stories" train on questions about clips, with an increasing share of
several things and events; "lora" trains a LoRA on q_proj and v_proj, as PLLaVA tunes an image model for video. The
table STAGES distributes --minutes. The directory contains tokenizer.json, state.pt (written every two minutes; --resume
continues from it), log.txt, and at the end the model in the published layout.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import math
import os
import pathlib
import signal
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

import tokenizer
import world
from data import (
    DEEDS, EVENTS, IGNORE, LATEST, LETTERS, LOOK_VALUES, MOTION_VALUES, STORY, STORY_EVENTS, Clips, Mix, augmented,
    block_mask,
)
from export import read_directory, write_directory
from model import Config, Pllava, normalised
from muon import Muon

SAVE_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of the training."""

    name: str
    share: float  # of the minutes, relative
    mix: Mix
    batch: int  # rows per step, over all processes
    rate: float  # learning rate of the language model and the projector
    vision: float = 0.0  # learning rate of the vision tower, relative
    lora: bool = False  # train only the LoRA and the projector
    last_rate: float = 0.3  # final learning rate, relative
    facts: bool = True  # train the auxiliary heads too


STAGES = (
    Stage("eyes", 25, Mix({0: 1, 1: 1, 2: 1, 3: 1, 4: 2}, frames=1, questions=0), 64, 1e-3, vision=1.0, last_rate=0.05),
    Stage("basics", 25, Mix({0: 1, 1: 2, 2: 3, 3: 3, 4: 3}, text=0.65, silent=0.35, benchmark=0.4), 16, 2e-3),
    Stage("clips", 25, Mix({0: 3, 1: 3, 2: 3, 3: 2, 4: 2}, text=0.15, silent=0.15, benchmark=0.4), 16, 1.5e-3),
    Stage("stories", 65, Mix({0: 1, 1: 1, 2: 2, 3: 8, 4: 15}, text=0.03, silent=0.2, benchmark=0.35, captions=3,
                             several={2: 0.2, 3: 0.4}), 16, 1.2e-3, last_rate=0.05),
    Stage("lora", 10, Mix({0: 1, 1: 1, 2: 2, 3: 5, 4: 8}, benchmark=0.4, captions=2, several={2: 0.2, 3: 0.35}), 16,
          1e-3, lora=True, last_rate=0.05),
)


# ---- losses


class Heads(nn.Module):
    """Auxiliary heads. They predict facts at the depth where later layers need them, and are not exported.

    The appearance of a cell is predicted from its pooled row; the motion of its thing after MOTION_DEPTH layers of
    the language model; the actions of all things after DEEDS_DEPTH layers; and the story so far after STORY_DEPTH
    layers, in the last rows of every frame. The text after the video can read these facts in the remaining layers:
    whether an option is right is predicted at its end after ENDS_DEPTH layers, so that the last layer only has to
    find its letter.
    """

    MOTION_DEPTH, DEEDS_DEPTH, STORY_DEPTH = 2, 3, 5
    OPTIONS_DEPTH, GIST_DEPTH, ENDS_DEPTH = 2, 5, 6

    def __init__(self, c: Config) -> None:
        super().__init__()
        kinds, colours = len(world.KINDS), len(world.COLOURS)
        self.look_sizes = [1, kinds, colours, len(world.BACKGROUNDS), len(LOOK_VALUES)]
        self.motion_sizes = [colours, len(MOTION_VALUES)]
        self.deeds_sizes = [3, len(DEEDS)]
        self.look = self._reader(c, self.look_sizes)
        self.motion = self._reader(c, self.motion_sizes)
        self.deeds = self._reader(c, self.deeds_sizes)
        self.events_sizes = [len(EVENTS), len(world.BACKGROUNDS)]
        self.events = self._reader(c, self.events_sizes)
        self.latest = self._reader(c, LATEST)
        self.story = self._reader(c, STORY)
        self.exists = self._reader(c, [1])
        self.options = self._reader(c, [len(LETTERS)])
        self.gist = self._reader(c, [c.vocab])
        self.ends = self._reader(c, [1])

    @staticmethod
    def _reader(c: Config, sizes: Sequence[int]) -> nn.Module:
        return nn.Sequential(nn.LayerNorm(c.width), nn.Linear(c.width, sum(sizes)))

    def look_losses(self, rows: Tensor, batch: dict) -> dict[str, Tensor]:
        """rows: (B, T, cells, H)."""
        present, kind, colour, background, values = self.look(rows).float().split(self.look_sizes, -1)
        there = batch["kind"] != IGNORE
        where = batch["background"][..., None].expand(there.shape)
        return {
            "present": F.binary_cross_entropy_with_logits(present[..., 0], there.float()),
            "kind": choice_loss(kind, batch["kind"]),
            "colour": choice_loss(colour, batch["colour"]),
            "background": choice_loss(background, where),
            "place": F.smooth_l1_loss(values[there], batch["look"][there], beta=0.1),
        }

    def motion_losses(self, rows: Tensor, batch: dict) -> dict[str, Tensor]:
        """rows: (B, T, cells, H), states after MOTION_DEPTH layers."""
        first_colour, values = self.motion(rows).float().split(self.motion_sizes, -1)
        there = batch["kind"] != IGNORE
        return {
            "motion": 3 * F.smooth_l1_loss(values[there], batch["motion"][there], beta=0.1),
            "was": choice_loss(first_colour, batch["first_colour"]),
        }

    def deeds_losses(self, rows: Tensor, batch: dict) -> dict[str, Tensor]:
        """rows: (B, T, cells, H), states after DEEDS_DEPTH layers."""
        rank, deeds = self.deeds(rows).float().split(self.deeds_sizes, -1)
        events, was = self.events(rows[:, :, -1]).float().split(self.events_sizes, -1)
        first_background = batch["background"][:, :1].expand(was.shape[:2])
        seen = batch["rank"] != IGNORE
        return {
            "rank": choice_loss(rank[:, 1:], batch["rank"][:, 1:]),  # causal: frame 0 does not see all of itself
            "deeds": 4 * F.binary_cross_entropy_with_logits(deeds[seen], batch["deeds"][seen]),
            "events": 2 * F.binary_cross_entropy_with_logits(events, batch["events"]),
            "ground": 0.5 * choice_loss(was, first_background),
            "latest": 0.5 * choices_loss(self.latest(rows), LATEST, batch["latest"]),
        }

    def story_losses(self, rows: Tensor, batch: dict) -> dict[str, Tensor]:
        """rows: (B, T, cells, H), states after STORY_DEPTH layers."""
        return {"story": choices_loss(self.story(rows[:, :, -STORY_EVENTS:]), STORY, batch["story"])}

    def truth_losses(self, states: list[Tensor], batch: dict) -> dict[str, Tensor]:
        """States (B, N, H) after each layer: whether a named thing exists, whether an option is right."""
        parts = {}
        for name, head, depth, weight in (("exists", self.exists, self.DEEDS_DEPTH, 0.5),
                                          ("ends", self.ends, self.ENDS_DEPTH, 2.0)):
            known = batch[name] != IGNORE
            if known.any():
                guess = head(states[depth - 1][known]).float()[:, 0]
                parts[name] = weight * F.binary_cross_entropy_with_logits(guess, batch[name][known].float())
        return parts

    def choice_losses(self, options: Tensor, gists: Tensor, batch: dict) -> dict[str, Tensor]:
        """States (B, N, H) after OPTIONS_DEPTH and GIST_DEPTH layers. The words of an option predict its letter. The
        position before the letter of the answer predicts the words of the right option."""
        named = batch["options"] != IGNORE
        places = [(row, place) for row, found in enumerate(batch["gists"]) for place, _ in found]
        if not places:
            return {}
        rows, columns = (torch.tensor(v, device=gists.device) for v in zip(*places))
        said = torch.log_softmax(self.gist(gists[rows, columns]).float(), -1)
        words = [ids for found in batch["gists"] for _, ids in found]
        return {
            "options": 0.3 * choice_loss(self.options(options[named]).float(), batch["options"][named]),
            "gist": -torch.stack([line[ids].mean() for line, ids in zip(said, words)]).mean(),
        }


def choice_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """(..., C) logits and (...) classes, or IGNORE."""
    return F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), ignore_index=IGNORE)


def choices_loss(logits: Tensor, sizes: Sequence[int], wanted: Tensor) -> Tensor:
    """The sum over the parts: (..., sum of sizes) logits and (..., number of sizes) classes."""
    parts = logits.float().split(list(sizes), -1)
    return sum(choice_loss(part, wanted[..., i]) for i, part in enumerate(parts) if (wanted[..., i] != IGNORE).any())


def answer_loss(model: Pllava, state: Tensor, batch: dict) -> tuple[Tensor, Tensor, Tensor]:
    """The weighted loss of the labelled ids, their logits, and the mask of their rows (B, N-1)."""
    wanted = batch["labels"][:, 1:]
    at = wanted != IGNORE
    logits = model.lm_head(model.llama.norm(state[:, :-1][at])).float()
    loss = F.cross_entropy(logits, wanted[at], reduction="none")
    weights = batch["weights"][:, 1:][at]
    return (loss * weights).sum() / weights.sum(), logits, at


def embedded(model: Pllava, ids: Tensor, video: Tensor | None) -> Tensor:
    """Ids to embeddings, with the rows of the video in place of the image tokens."""
    words = model.llama.embed_tokens(ids)
    if video is None:
        return words
    first = int((ids[0] == model.config.image_token).nonzero()[0])
    return torch.cat([words[:, :first], video.to(words.dtype), words[:, first + video.shape[1]:]], 1)


def losses(model: Pllava, heads: Heads | None, batch: dict, pixels: Tensor | None,
           vision_grad: bool) -> tuple[dict[str, Tensor], Tensor | None, Tensor | None]:
    """All losses of the batch (without heads only that of the answers), and the logits and the mask of the
    labelled ids."""
    parts: dict[str, Tensor] = {}
    video = None
    if pixels is not None:
        with torch.set_grad_enabled(vision_grad and torch.is_grad_enabled()):
            features = model.features(pixels)
        video = model.pooled(features)
        if heads is not None:
            parts |= heads.look_losses(video.unflatten(1, (pixels.shape[1], -1)), batch)
    if "ids" not in batch:
        return parts, None, None
    talks = any(batch["tasks"])
    states = model.llama.states(embedded(model, batch["ids"], video), batch["positions"],
                                block_mask(batch["segments"], batch["prefix"]), batch["prefix"],
                                None if talks else Heads.STORY_DEPTH)
    logits, at = None, None
    if talks:
        parts["answers"], logits, at = answer_loss(model, states[-1], batch)
        if heads is not None:
            parts |= heads.choice_losses(states[Heads.OPTIONS_DEPTH - 1], states[Heads.GIST_DEPTH - 1], batch)
            parts |= heads.truth_losses(states, batch)
    if heads is not None and pixels is not None and pixels.shape[1] > 1:
        first = int((batch["ids"][0] == model.config.image_token).nonzero()[0])

        def rows(depth: int) -> Tensor:
            return states[depth - 1][:, first:first + video.shape[1]].unflatten(1, (pixels.shape[1], -1))

        parts |= heads.motion_losses(rows(Heads.MOTION_DEPTH), batch)
        parts |= heads.deeds_losses(rows(Heads.DEEDS_DEPTH), batch)
        parts |= heads.story_losses(rows(Heads.STORY_DEPTH), batch)
    return parts, logits, at


# ---- processes


@dataclasses.dataclass
class Team:
    """The processes that train together."""

    rank: int
    size: int

    def mean(self, parameters: list[nn.Parameter], progress: float) -> float:
        """Averages the gradients and the progress over the team. Returns the progress."""
        if self.size == 1:
            return progress
        for p in parameters:  # a batch of text has no gradients of the vision tower
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        flat = torch.cat([*(p.grad.flatten() for p in parameters), torch.tensor([progress])])
        dist.all_reduce(flat)
        flat /= self.size
        for p, part in zip(parameters, flat[:-1].split([p.numel() for p in parameters])):
            p.grad.copy_(part.view_as(p))
        return float(flat[-1])


def named_groups(parts: dict[str, list[nn.Parameter]]) -> list[dict]:
    return [{"params": parameters, "name": name} for name, parameters in parts.items()]


class Trainer:
    """A model in training, with optimizers, stage and elapsed time."""

    def __init__(self, options: argparse.Namespace, team: Team, model: Pllava | None = None) -> None:
        """Without `model`: the model of --resume, else a new one."""
        self.options, self.team = options, team
        self.device = torch.device(options.device)
        self.prompts = tokenizer.Prompts(options.output / "tokenizer.json")
        torch.manual_seed(options.seed)
        exported = options.resume is not None and options.resume.is_dir()
        if model is None:
            model = read_directory(options.resume) if exported else Pllava()
        self.model = model.to(self.device)
        self.heads = Heads(self.model.config).to(self.device)
        # Muon for the matrices between hidden states, AdamW for all other parameters.
        matrices, others = (collections.defaultdict(list) for _ in range(2))
        for name, p in self.model.named_parameters():
            part = ("vision" if name.startswith("vision_tower") else "lora" if "lora_" in name
                    else "projector" if "projector" in name else "language")
            matrix = p.dim() == 2 and not any(word in name for word in ("embed", "lm_head", "lora_"))
            (matrices if matrix else others)[part].append(p)
        others["heads"] = list(self.heads.parameters())
        self.optimisers = (
            Muon(named_groups(matrices), team.rank, team.size),
            torch.optim.AdamW(named_groups(others), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True))
        self.done: dict[str, float] = {}  # stage: seconds
        self.steps = 0
        if options.resume is not None and not exported:
            self.load(options.resume)
        self.generator = torch.Generator().manual_seed(options.seed * 1000 + team.rank + self.steps)
        self.saved = time.monotonic()

    def load(self, path: pathlib.Path) -> None:
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(saved)
        self.done, self.steps = state["done"], state["steps"]

    def save(self) -> None:
        """Writes state.pt atomically."""
        self.saved = time.monotonic()
        if self.team.rank:
            return
        path = self.options.output / "state.pt"
        torch.save({"model": self.model.state_dict(), "heads": self.heads.state_dict(),
                    "optimisers": [o.state_dict() for o in self.optimisers], "done": self.done, "steps": self.steps},
                   path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    def log(self, text: str) -> None:
        if self.team.rank == 0:
            with open(self.options.output / "log.txt", "a") as file:
                print(f"{time.strftime('%H:%M:%S')} {text}", file=file)

    def autocast(self) -> torch.autocast:
        """bf16 if the hardware supports it: otherwise it is much slower than f32."""
        able = self.device.type != "cpu" or torch.cpu.get_capabilities().get("avx512_bf16", False)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=able)

    def loader(self, stage: Stage, seed: int) -> DataLoader:
        clips = Clips(self.model.config, self.prompts, stage.mix, stage.batch // self.team.size, seed)
        return DataLoader(clips, batch_size=None, num_workers=self.options.workers)

    def on_device(self, batch: dict) -> dict:
        return {name: v.to(self.device) if isinstance(v, Tensor) else v for name, v in batch.items()}

    def set_rates(self, stage: Stage, progress: float) -> list[nn.Parameter]:
        """Sets the learning rates: a cosine after a warm-up. The heads have no warm-up, so that they fit the model
        before their gradients change it. Returns the parameters that train."""
        warm = min(1.0, progress / 0.03 + 0.02)
        rate = stage.rate * (stage.last_rate + (1 - stage.last_rate) * 0.5 * (1 + math.cos(math.pi * progress)))
        factors = {"vision": warm * stage.vision, "projector": warm, "heads": 1.0,
                   "language": warm * (stage.mix.questions > 0 and not stage.lora), "lora": warm * stage.lora}
        trained = []
        for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
            group["lr"] = rate * factors[group["name"]]
            for p in group["params"]:
                p.requires_grad_(group["lr"] > 0)
            if group["lr"] > 0:
                trained += group["params"]
        return trained

    def run(self, stage: Stage, seconds: float, steps: int = 0) -> None:
        """Trains for `seconds`, including those before an interruption, or for `steps` if not 0."""
        start, first = time.monotonic() - self.done.get(stage.name, 0.0), self.steps

        def progress_now() -> float:
            return (self.steps - first) / steps if steps else (time.monotonic() - start) / seconds

        progress = progress_now()
        if progress >= 1:
            return
        exam, heads = Exam(self, stage), self.heads if stage.facts else None
        sums: collections.Counter[str] = collections.Counter()
        rows = 0
        told = time.monotonic()
        for batch in self.loader(stage, self.options.seed + 7919 * self.steps + 104729 * self.team.rank):
            trained = self.set_rates(stage, progress)
            batch = self.on_device(batch)
            pixels = None
            if "frames" in batch:
                pixels = normalised(augmented(batch["frames"], self.generator))
            with self.autocast():
                parts, _, _ = losses(self.model, heads, batch, pixels, stage.vision > 0)
            sum(parts.values()).backward()
            progress = self.team.mean(trained, progress_now())
            nn.utils.clip_grad_norm_(trained, 1.0)
            for optimiser in self.optimisers:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            self.steps += 1
            rows += self.team.size * len(batch["ids"] if "ids" in batch else pixels)
            for name, value in parts.items():
                sums[name] += value.item()
                sums[f"n {name}"] += 1
            due = self.steps % 20 == 0 and progress * seconds - self.done.get(stage.name, 0) > self.options.every
            if due or progress >= 1:
                self.done[stage.name] = progress * seconds
                speed = rows / (time.monotonic() - told)
                means = " ".join(f"{n} {sums[n] / sums['n ' + n]:.3f}" for n in sums if not n.startswith("n "))
                self.log(f"{stage.name} {100 * progress:.0f}% step {self.steps} {speed:.1f}/s | {means}")
                exam.take()
                self.save()
                sums.clear()
                rows, told = 0, time.monotonic()
            if progress >= 1:
                return


class Exam:
    """Evaluates clips that are not in the training, with teacher forcing: an answer is right if each of its ids is the
    most likely one, so that greedy decoding would generate it."""

    def __init__(self, trainer: Trainer, stage: Stage, batches: int = 2, rows: int = 8) -> None:
        self.trainer, self.heads = trainer, trainer.heads if stage.facts else None
        self.batches: dict[int, list[dict]] = {}
        for level in stage.mix.levels:
            mix = dataclasses.replace(stage.mix, levels={level: 1.0}, text=float(stage.mix.text == 1), silent=0,
                                      benchmark=0)
            clips = Clips(trainer.model.config, trainer.prompts, mix, rows, 0, "any")
            rng = np.random.default_rng([10**6, level, trainer.team.rank])
            self.batches[level] = [clips.make(number, rng) for number in range(batches)]
        encode = trainer.prompts.tokenizer.encode
        self.words = {ids[0]: name for name, words in (
            ("kind", world.KINDS), ("colour", world.COLOURS), ("way", world.DIRECTIONS[:4])) for word in words
            if len(ids := encode(word, add_special_tokens=False).ids) == 1}

    @torch.no_grad()
    def take(self) -> None:
        for level, batches in self.batches.items():
            right: collections.Counter[str] = collections.Counter()
            total: collections.Counter[str] = collections.Counter()
            for batch in batches:
                self._mark(self.trainer.on_device(batch), right, total)
            names = sorted(total)
            if self.trainer.team.size > 1:
                names = sorted(set().union(*self._gather(names)))
                counts = torch.tensor([[right[n], total[n]] for n in names], dtype=torch.float64)
                dist.all_reduce(counts)
                right = collections.Counter(dict(zip(names, counts[:, 0].tolist())))
                total = collections.Counter(dict(zip(names, counts[:, 1].tolist())))
            marks = " ".join(f"{n}={right[n] / total[n]:.2f}" for n in names if total[n])
            self.trainer.log(f"  level {level}: {marks}")

    def _gather(self, names: list[str]) -> list[list[str]]:
        everyone: list = [None] * self.trainer.team.size
        dist.all_gather_object(everyone, names)
        return everyone

    def _mark(self, batch: dict, right: collections.Counter, total: collections.Counter) -> None:
        trainer = self.trainer
        pixels = normalised(batch["frames"]) if "frames" in batch else None
        with trainer.autocast():
            if "ids" not in batch:
                rows = trainer.model.pooled(trainer.model.features(pixels)).unflatten(1, (pixels.shape[1], -1))
                guesses = trainer.heads.look(rows).float().split(trainer.heads.look_sizes, -1)
                there = batch["kind"] != IGNORE
                right["present"] += int(((guesses[0][..., 0] > 0) == there).all(-1).sum())
                total["present"] += there[..., 0].numel()
                for name, guess in (("kind", guesses[1]), ("colour", guesses[2])):
                    right[name] += int((guess.argmax(-1) == batch[name])[there].sum())
                    total[name] += int(there.sum())
                return
            _, logits, at = losses(trainer.model, self.heads, batch, pixels, False)
        guess = torch.full(at.shape, IGNORE, device=at.device)
        guess[at] = logits.argmax(-1)
        wanted, segments = batch["labels"][:, 1:], batch["segments"][:, 1:]
        good = guess == wanted
        for row, tasks in enumerate(batch["tasks"]):
            for number, task in enumerate(tasks, 1):
                mine = at[row] & (segments[row] == number)
                if task != "caption":
                    kind, name = ("choice", task[7:]) if task.startswith("choice ") else ("open", task)
                    for name in (kind, name):
                        right[name] += bool(good[row][mine].all())
                        total[name] += 1
                    continue
                for word, hit in zip(wanted[row][mine].tolist(), good[row][mine].tolist()):
                    if word in self.words:
                        right["caption " + self.words[word]] += hit
                        total["caption " + self.words[word]] += 1


def work(rank: int, options: argparse.Namespace) -> None:
    """Runs one process of the team."""
    if options.device == "cpu":
        torch.set_num_threads(options.threads)
    if options.processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{(options.output / 'meeting').resolve()}",
                                rank=rank, world_size=options.processes)
    trainer = Trainer(options, Team(rank, options.processes))
    stages = [s for s in STAGES if options.stages is None or s.name in options.stages]
    whole = sum(stage.share for stage in stages)
    for stage in stages:
        trainer.run(stage, 60 * options.minutes * stage.share / whole)
    if rank == 0:
        write_directory(options.output / "model", trainer.model, options.output / "tokenizer.json")
    if options.processes > 1:
        dist.destroy_process_group()
        (options.output / "meeting").unlink(missing_ok=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="directory of this run")
    parser.add_argument("--minutes", type=float, default=150, help="total time of all stages (default 150)")
    parser.add_argument("--stages", nargs="+", choices=[s.name for s in STAGES], help="stages to run (default: all)")
    parser.add_argument("--resume", type=pathlib.Path, help="state.pt or exported directory to continue from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--processes", type=int, help="processes on a CPU (default: one per core)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads per process (default 1)")
    parser.add_argument("--workers", type=int, help="rendering processes (default: 0 on a CPU, else cores - 2)")
    parser.add_argument("--every", type=float, default=SAVE_SECONDS, help="seconds between evaluations and saves")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    cores = len(os.sched_getaffinity(0))
    on_cpu = options.device == "cpu"
    options.processes = (options.processes or cores) if on_cpu else 1
    if options.workers is None:
        options.workers = 0 if on_cpu else max(cores - 2, 1)
    return options


def main() -> None:
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "meeting").unlink(missing_ok=True)
    path = options.output / "tokenizer.json"
    if not path.exists():
        if options.resume is not None:
            path.write_bytes((options.resume if options.resume.is_dir() else options.resume.parent)
                             .joinpath("tokenizer.json").read_bytes())
        else:
            path.write_text(json.dumps(tokenizer.learn(tokenizer.corpus(4000)), ensure_ascii=False) + "\n",
                            encoding="utf-8")
    if options.processes == 1:
        work(0, options)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # also ends the other processes
        torch.multiprocessing.spawn(work, (options,), options.processes, daemon=True)


if __name__ == "__main__":
    main()
