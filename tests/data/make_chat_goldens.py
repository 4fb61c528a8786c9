"""Writes tests/data/text/chat.json: conversations as the published chat templates render them.

usage: make_chat_goldens.py DIRECTORY

DIRECTORY holds one Jinja template per key of conversation_template(), KEY.jinja, as published in
the checkpoint's chat_template.json, chat_template.jinja or tokenizer_config.json:

    llava            llava-hf/llava-1.5-7b-hf, llava-v1.6-vicuna-7b-hf, LLaVA-NeXT-Video-7B-hf
    llava_mistral    llava-hf/llava-v1.6-mistral-7b-hf
    llava_video_34b  llava-hf/LLaVA-NeXT-Video-34B-hf
    llava_onevision  llava-hf/llava-onevision-qwen2-0.5b-ov-hf
    qwen2            Qwen/Qwen2-7B-Instruct
    qwen2_5          Qwen/Qwen2.5-7B-Instruct
    smollm2          HuggingFaceTB/SmolLM2-135M-Instruct
    llama3           meta-llama/Meta-Llama-3-8B-Instruct

They are not part of this repository. Made with transformers 5.24.0.
"""

import json
import pathlib
import sys

from transformers.utils.chat_template_utils import render_jinja_template

WITH_IMAGE_ITEMS = ("llava", "llava_mistral", "llava_video_34b")
WITH_VIDEO_ITEMS = ("llava_onevision",)
CONVERSATIONS = {
    "one question": (None, ["What happens?"]),
    "two questions": (None, ["What happens?", "A red ball rolls.", "Where does it\nstop?"]),
    "a system text": ("Answer in one word.", ["Which colour is it?"]),
}


def text_item(text):
    return {"type": "text", "text": text}


def messages_for(key, system, turns):
    items = key in WITH_IMAGE_ITEMS or key in WITH_VIDEO_ITEMS
    messages = []
    if system is not None:
        messages.append({"role": "system", "content": [text_item(system)] if items else system})
    for i, turn in enumerate(turns):
        content = [text_item(turn)] if items else turn
        if i == 0 and items:
            content.insert(0, {"type": "image" if key in WITH_IMAGE_ITEMS else "video"})
        messages.append({"role": "assistant" if i % 2 else "user", "content": content})
    return messages


def main(directory):
    goldens = []
    for path in sorted(directory.glob("*.jinja")):
        for name, (system, turns) in CONVERSATIONS.items():
            rendered, _ = render_jinja_template(
                conversations=[messages_for(path.stem, system, turns)],
                chat_template=path.read_text(encoding="utf-8"),
                add_generation_prompt=True,
                bos_token="",  # the tokenizer adds it
            )
            goldens.append(
                {
                    "template": path.stem,
                    "conversation": name,
                    "system": system or "",
                    "turns": turns,
                    "prompt": rendered[0].replace("<video>", "<image>"),
                }
            )
    out = pathlib.Path(__file__).parent / "text" / "chat.json"
    out.write_text(json.dumps(goldens, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


main(pathlib.Path(sys.argv[1]))
