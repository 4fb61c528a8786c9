"""Writes clips of world.py as mp4, with their ground truth.

    python clips.py --out DIR --seed 7 --clips 20 --level 3

writes

    DIR/video/00000.mp4 ...        the clips (H.264, or MPEG-4 if ffmpeg has no libx264)
    DIR/truth.json                 a list with one object per clip: video, level, scene, caption, story
                                   and questions
    DIR/json/moving_direction.json ...
                                   multiple choice in MVBench's layout, one file per task: a list of
                                   {video, question, candidates, answer}

The same seed gives the same scenes, captions and questions. Needs numpy, and ffmpeg on the PATH.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from language import MVBENCH_TASKS, QA, ask, caption, true_story
from render import frame_count, render
from world import LEVELS, SPLITS, Event, Scene, Thing, reversed_scene, sample_scene

CRF = 20  # of x264: almost lossless
STREAM = 0x636C6970  # a random stream that training never uses, for any seed


@dataclass(frozen=True)
class Clip:
    """A scene, its video file, and its ground truth."""

    video: str  # file name
    level: int
    scene: Scene
    caption: str
    questions: tuple[QA, ...]


@functools.cache
def encoder(crf: int) -> tuple[str, ...]:
    """The encoder options of ffmpeg. A higher `crf` gives smaller files of lower quality."""
    if shutil.which("ffmpeg") is None:
        raise SystemExit("ffmpeg is not on the PATH; it is needed to write clips")
    command = ["ffmpeg", "-hide_banner", "-encoders"]
    encoders = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if " libx264 " in encoders:
        return ("-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf))
    return ("-c:v", "mpeg4", "-q:v", str(max(2, crf // 6)))


def write_video(scene: Scene, path: pathlib.Path, crf: int = CRF) -> None:
    """Writes the scene as an mp4 file with its size and frame rate."""
    frames = render(scene, [i / scene.fps for i in range(frame_count(scene))])
    command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
               "-video_size", f"{scene.width}x{scene.height}", "-framerate", str(scene.fps),
               "-i", "-", *encoder(crf), "-pix_fmt", "yuv420p", "-threads", "1", str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)


def sample_clips(seed: int, count: int, split: str, levels: tuple[int, ...],
                 backwards: bool = False) -> Iterator[Clip]:
    """`count` clips that cycle through the levels, with one question of every task that applies.

    Each clip has a separate random stream, so clip 7 does not depend on `count`.
    """
    for number in range(count):
        rng = np.random.default_rng([STREAM, seed, number])
        level = levels[number % len(levels)]
        scene = sample_scene(rng, level, split)
        if backwards:
            scene = reversed_scene(scene)
        asked = (ask(scene, rng, task) for task in MVBENCH_TASKS)
        yield Clip(f"{number:05}.mp4", level, scene, caption(scene, rng),
                   tuple(qa for qa in asked if qa is not None))


def write_clips(out: pathlib.Path, clips: list[Clip], crf: int = CRF) -> None:
    """Writes the videos and JSON files described above."""
    (out / "video").mkdir(parents=True, exist_ok=True)
    (out / "json").mkdir(exist_ok=True)
    for clip in clips:
        write_video(clip.scene, out / "video" / clip.video, crf)
    _write_json(out / "truth.json", [truth_of(clip) for clip in clips])
    for task in MVBENCH_TASKS:
        entries = [mvbench_entry(clip, qa)
                   for clip in clips for qa in clip.questions if qa.task == task]
        if entries:
            _write_json(out / "json" / f"{task.lower().replace(' ', '_')}.json", entries)


def _write_json(path: pathlib.Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def truth_of(clip: Clip) -> dict[str, object]:
    return {**asdict(clip), "story": true_story(clip.scene)}


def mvbench_entry(clip: Clip, qa: QA) -> dict[str, object]:
    return {"video": clip.video, "question": qa.question, "candidates": list(qa.candidates or ()),
            "answer": qa.answer}


def scene_from_json(value: dict) -> Scene:
    """The scene of an entry of truth.json."""
    return Scene(**{
        **value,
        "things": tuple(Thing(**thing) for thing in value["things"]),
        "events": tuple(Event(**event) for event in value["events"]),
        "cut": value["cut"] and tuple(value["cut"]),
    })


def read_clips(folder: pathlib.Path) -> list[Clip]:
    """The clips that write_clips() wrote."""
    entries = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return [Clip(entry["video"], entry["level"], scene_from_json(entry["scene"]),
                 entry["caption"],
                 tuple(QA(**{**qa, "candidates": tuple(qa["candidates"])})
                       for qa in entry["questions"]))
            for entry in entries]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR",
                        help="directory to write to; created if missing")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="random seed (default 0)")
    parser.add_argument("--clips", type=int, default=10, metavar="K",
                        help="number of clips (default 10)")
    parser.add_argument("--split", choices=SPLITS, default="any",
                        help="held_out: at least one movement has a combination of colour, kind "
                        "and direction that is not in training; train: none has (default any)")
    parser.add_argument("--level", type=int, choices=LEVELS, nargs="+", default=[1, 2, 3, 4],
                        help="0 images, 1 one movement, 2 one event of any kind, 3 two events in "
                        "order, 4 several things that meet or move together, cuts; the clips "
                        "cycle through the levels (default 1 2 3 4)")
    parser.add_argument("--reversed", action="store_true",
                        help="the clips in reverse, with their ground truth")
    parser.add_argument("--crf", type=int, default=CRF, metavar="N",
                        help=f"quality of x264, 0 to 51, lower is better (default {CRF})")
    options = parser.parse_args()
    clips = list(sample_clips(options.seed, options.clips, options.split, tuple(options.level),
                              options.reversed))
    write_clips(options.out, clips, options.crf)
    asked = sum(len(clip.questions) for clip in clips)
    print(f"{len(clips)} clips and {asked} questions in {options.out}")


if __name__ == "__main__":
    main()
