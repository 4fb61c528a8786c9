"""Greedy answers and multiple choice of a PyTorch model, with the prompts of `pllava`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from clips import Clip
from data import CAPTION_PROMPT, PREFIX, Row, block_mask, pack
from evaluate import Scores, is_right
from language import best_option_text
from model import Pllava, normalised
from render import render, sample_times
from tokenizer import BENCHMARK_SYSTEM, EOS, Prompts
from train import embedded

LIMIT = 200  # ids of an answer, as in `pllava`
TOGETHER = 16  # clips captioned in one batch
LONGEST = 80  # maximum ids of a caption; true captions have up to 60


@dataclasses.dataclass
class Answer:
    """Ids including EOS, and the margin of each logit over the second largest."""

    ids: list[int] = dataclasses.field(default_factory=list)
    margins: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class PromptTemplate:
    """The prompt template of a multiple-choice question."""

    name: str
    before: str
    after: str  # {} is the question; the letter of the option follows

    def ids(self, prompts: Prompts, question: str) -> tuple[list[int], list[int]]:
        """The ids before and after the video."""
        encode = prompts.tokenizer.encode
        after = self.after.replace("{}", question)
        return encode(self.before).ids, encode(after, add_special_tokens=False).ids


# The first is MVBench's and part of the training; the others are not.
TEMPLATES = (
    PromptTemplate("as trained", f"{BENCHMARK_SYSTEM} USER: ",
                   "\n USER: {} \nOnly give the best option. ASSISTANT:Best option:("),
    PromptTemplate("no system text", "USER: ", "\n USER: {} \nOnly give the best option. ASSISTANT:Best option:("),
    PromptTemplate("other request", f"{BENCHMARK_SYSTEM} USER: ",
                   "\n USER: {} \nWhich of these is right? ASSISTANT:The answer is ("),
    PromptTemplate("other roles", "Human: ", "\n Human: {} \nOnly give the best option. Assistant:Best option:("),
)


def clip_pixels(model: Pllava, clip: Clip) -> Tensor:
    """The sampled frames of the clip, rendered at the model's image size: (1, T, 3, S, S)."""
    c = model.config
    frames = render(clip.scene, sample_times(clip.scene, c.frames), (c.image, c.image))
    return normalised(torch.from_numpy(frames)[None].to(next(model.parameters()).device))


@torch.no_grad()
def video_rows(model: Pllava, clips: Sequence[Clip]) -> Tensor:
    """(clips, rows, H)."""
    return torch.cat([model.pooled(model.features(clip_pixels(model, clip))) for clip in clips])


@torch.no_grad()
def greedy(model: Pllava, video: Tensor, before: list[int], after: list[int],
           limit: int = LIMIT) -> list[Answer]:
    """The answer to one prompt about each video (B, rows, H)."""
    words = model.llama.embed_tokens
    answers = [Answer() for _ in video]

    def embeddings(ids: list[int]) -> Tensor:
        return words(torch.tensor(ids, device=video.device)).expand(len(video), -1, -1)

    x = torch.cat([embeddings(before), video, embeddings(after)], 1)
    for _ in range(limit):
        n = x.shape[1]
        state = model.llama.states(x, torch.arange(n, device=x.device)[None], prefix=n)[-1][:, -1]
        best = model.lm_head(model.llama.norm(state)).topk(2)
        for answer, ids, logits in zip(answers, best.indices.tolist(), best.values.tolist()):
            if answer.ids[-1:] != [EOS]:
                answer.ids.append(ids[0])
                answer.margins.append(logits[0] - logits[1])
        if all(answer.ids[-1] == EOS for answer in answers):
            break
        x = torch.cat([x, words(best.indices[:, :1])], 1)
    return answers


@torch.no_grad()
def first_ids(model: Pllava, video: Tensor, before: list[int], prompts: Sequence[list[int]]) -> list[int]:
    """The most likely id after each of the prompts about one video (1, rows, H)."""
    row = Row()
    row.add(PREFIX, 0, before + [model.config.image_token] * video.shape[1], [])
    start, ends = len(row.ids), []
    for number, prompt in enumerate(prompts, 1):
        row.add(number, start, prompt, [])
        ends.append(len(row.ids) - 1)
    batch = {name: v.to(video.device) if isinstance(v, Tensor) else v for name, v in pack([row]).items()}
    x = embedded(model, batch["ids"], video)
    mask = block_mask(batch["segments"], batch["prefix"])
    states = model.llama.states(x, batch["positions"], mask, batch["prefix"])
    return model.lm_head(model.llama.norm(states[-1][0, ends])).argmax(-1).tolist()


def choices(model: Pllava, prompts: Prompts, clip: Clip, video: Tensor,
            template: PromptTemplate = TEMPLATES[0]) -> list[str]:
    """The first token of the answer to each question about the clip, as text. It should be the letter of an
    option. video: (1, rows, H)."""
    if not clip.questions:
        return []
    asked = [template.ids(prompts, best_option_text(qa)[0]) for qa in clip.questions]
    ids = first_ids(model, video, asked[0][0], [after for _, after in asked])
    return [prompts.text([number]) for number in ids]


def score(model: Pllava, prompts: Prompts, clips: Sequence[Clip]) -> Scores:
    """Scores captions and multiple choice as evaluate.py does."""
    model.eval()
    scores = Scores()
    for first in range(0, len(clips), TOGETHER):
        some = clips[first:first + TOGETHER]
        video = video_rows(model, some)
        told = greedy(model, video, prompts.before, prompts.question(CAPTION_PROMPT), LONGEST)
        for number, (clip, answer) in enumerate(zip(some, told)):
            scores.add_caption(clip, prompts.text(answer.ids))
            for qa, letter in zip(clip.questions, choices(model, prompts, clip, video[number:number + 1])):
                right = is_right(letter, best_option_text(qa)[1])
                scores.add_answer(qa.task, right, 1 / len(qa.candidates or (1,)))
    return scores
