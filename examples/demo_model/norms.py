"""L2 norms of video rows and word embeddings, and the effect of the prompt template.

    python norms.py --model weights --output norms
    python norms.py --model variants/pooled variants/temporal variants/direct --output norms

The PLLaVA paper found that training on concatenated frames creates dominant visual rows, a second peak of large
norms, and that the answers then degrade with prompts that are not in the training. Pooled rows keep one narrow
peak. This script measures both:

    norms      L2 norms of the rows after the projector, before and after pooling, and of the embeddings of
               the words in captions and questions
    wordings   multiple choice with four prompt templates: the share of right answers, of answers that are
               the letter of an option, and of answers equal to those with the template of the training

The tables are printed. norms.json, norms.svg and wordings.svg are written to the directory.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from answers import TEMPLATES, choices, clip_pixels, video_rows
from clips import Clip, sample_clips
from data import CAPTION_PROMPT, LETTERS
from evaluate import Tally, is_right, without_nan
from export import read_directory
from language import best_option_text
from model import Pllava
from plot import Bars, Lines, svg
from tokenizer import Prompts

BINS = 60


@dataclasses.dataclass(frozen=True)
class Norms:
    """L2 norms of one model."""

    before: np.ndarray  # rows after the projector
    after: np.ndarray  # the pooled rows, the input of the language model
    words: np.ndarray  # embeddings, one per id that occurs

    def named(self) -> dict[str, np.ndarray]:
        return {"before pooling": self.before, "after pooling": self.after, "words": self.words}


@dataclasses.dataclass
class TemplateScores:
    """Multiple choice with one prompt template."""

    right: Tally = dataclasses.field(default_factory=Tally)
    letters: Tally = dataclasses.field(default_factory=Tally)
    same: Tally = dataclasses.field(default_factory=Tally)  # as with the first template

    def summary(self) -> dict[str, float]:
        return {"accuracy": self.right.percent(), "chance": self.right.chance(),
                "letters": self.letters.percent(), "same_as_trained": self.same.percent()}


@torch.no_grad()
def measure_norms(model: Pllava, prompts: Prompts, clips: Sequence[Clip]) -> Norms:
    before, after, ids = [], [], set(prompts.question(CAPTION_PROMPT))
    for clip in clips:
        features = model.features(clip_pixels(model, clip))
        before.append(row_norms(model.multi_modal_projector(features)))
        after.append(row_norms(model.pooled(features)))
        ids.update(prompts.answer(clip.caption))
        for qa in clip.questions:
            ids.update(prompts.benchmark_question(best_option_text(qa)[0]))
    words = row_norms(model.llama.embed_tokens.weight[sorted(ids)])
    return Norms(np.concatenate(before), np.concatenate(after), words)


def row_norms(rows: Tensor) -> np.ndarray:
    """(..., H) to a flat array of norms."""
    return rows.float().norm(dim=-1).flatten().cpu().numpy()


def measure_templates(model: Pllava, prompts: Prompts, clips: Sequence[Clip]) -> dict[str, TemplateScores]:
    found = {template.name: TemplateScores() for template in TEMPLATES}
    for clip in clips:
        video = video_rows(model, [clip])
        answers = [choices(model, prompts, clip, video, template) for template in TEMPLATES]
        for template, given in zip(TEMPLATES, answers):
            scores = found[template.name]
            for qa, answer, first in zip(clip.questions, given, answers[0]):
                count = len(qa.candidates or ())
                scores.right.add(is_right(answer, best_option_text(qa)[1]), 1 / max(count, 1))
                scores.letters.add(answer in tuple(LETTERS[:count]))
                scores.same.add(answer == first)
    return found


def statistics(norms: np.ndarray) -> dict[str, float]:
    """Statistics of the norms. `long` is the share in % above twice the median."""
    low, middle, high = np.quantile(norms, (0.01, 0.5, 0.99)).tolist()
    return {"rows": len(norms), "mean": float(norms.mean()), "1%": low, "median": middle, "99%": high,
            "max": float(norms.max()), "long": 100 * float((norms > 2 * middle).mean())}


def histogram(norms: np.ndarray, low: float, high: float) -> list[tuple[float, float]]:
    """Points (centre of the bin, share of the norms in %), including one empty bin at each end. The bins are
    logarithmic."""
    edges = np.geomspace(low, high, BINS + 1)
    counts, _ = np.histogram(norms, edges)
    middles = np.sqrt(edges[:-1] * edges[1:])
    full = np.flatnonzero(counts)
    kept = slice(max(full[0] - 1, 0), full[-1] + 2)
    return list(zip(middles[kept].tolist(), (100 * counts / len(norms))[kept].tolist()))


def norms_chart(found: dict[str, Norms]) -> str:
    """One chart per model, with the same scale."""
    every = np.concatenate([values for norms in found.values() for values in norms.named().values()])
    low, high = 0.8 * float(every[every > 0].min()), 1.25 * float(every.max())
    return svg([Lines(f"{name}: L2 norms", "norm", "share, %",
                      {part: histogram(values, low, high) for part, values in norms.named().items()},
                      (low, high), x_powers=True)
                for name, norms in found.items()])


def templates_chart(found: dict[str, dict[str, TemplateScores]]) -> str:
    names = [template.name for template in TEMPLATES]
    series = {model: [scores[name].right.percent() for name in names] for model, scores in found.items()}
    return svg([Bars("multiple choice with four prompt templates", "right, %", names, series)])


def norms_table(found: dict[str, Norms]) -> str:
    lines = ["| model | rows | median | 1 % | 99 % | longest | more than twice the median, % |",
             "|---|---|---|---|---|---|---|"]
    for name, norms in found.items():
        for part, values in norms.named().items():
            s = statistics(values)
            lines.append(f"| {name} | {part} | {s['median']:.3g} | {s['1%']:.3g} | {s['99%']:.3g} | "
                         f"{s['max']:.3g} | {s['long']:.1f} |")
    return "\n".join(lines)


def templates_table(found: dict[str, dict[str, TemplateScores]]) -> str:
    lines = ["| model | template | right, % (guessing) | a letter, % | as under the first, % |",
             "|---|---|---|---|---|"]
    for name, templates in found.items():
        for template, w in templates.items():
            lines.append(f"| {name} | {template} | {w.right.percent():.1f} ({w.right.chance():.0f}) | "
                         f"{w.letters.percent():.1f} | {w.same.percent():.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, nargs="+", metavar="DIR",
                        default=[pathlib.Path(__file__).parent / "weights"],
                        help="checkpoint directories (default: weights, next to this file)")
    parser.add_argument("--output", type=pathlib.Path, required=True, metavar="DIR",
                        help="directory for results and charts")
    parser.add_argument("--seed", type=int, default=70001, metavar="N", help="seed of the clips (default 70001)")
    parser.add_argument("--clips", type=int, default=100, metavar="K", help="number of clips (default 100)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="(default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    clips = list(sample_clips(options.seed, options.clips, "train", (1, 2, 3, 4)))
    norms: dict[str, Norms] = {}
    templates: dict[str, dict[str, TemplateScores]] = {}
    for directory in options.model:
        model, prompts = read_directory(directory).eval(), Prompts(directory / "tokenizer.json")
        name = directory.resolve().name
        norms[name] = measure_norms(model, prompts, clips)
        templates[name] = measure_templates(model, prompts, clips)
    print(norms_table(norms), templates_table(templates), sep="\n\n")
    figures = {name: {"norms": {part: statistics(values) for part, values in norms[name].named().items()},
                      "wordings": {template: scores.summary() for template, scores in templates[name].items()}}
               for name in norms}
    figures = {"seed": options.seed, "clips": options.clips, "models": figures}
    text = json.dumps(without_nan(figures), indent=1, allow_nan=False)
    (options.output / "norms.json").write_text(text + "\n", encoding="utf-8")
    (options.output / "norms.svg").write_text(norms_chart(norms), encoding="utf-8")
    (options.output / "wordings.svg").write_text(templates_chart(templates), encoding="utf-8")


if __name__ == "__main__":
    main()
