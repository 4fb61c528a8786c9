"""Generates tests/data/peft: a tiny random base, LoRA adapters that PEFT writes over it, and first-token logits.

    python make_peft_goldens.py [--output DIRECTORY]

Made with torch 2.15.0, transformers 5.24.0, peft 0.21.2, safetensors 0.8.0 and numpy; see `check_versions`. The base is
a LlavaForConditionalGeneration with one image, stored in bf16; adapters are stored in f32. Their weights are sampled
with numpy's PCG64. Both are written by save_pretrained, read back by from_pretrained, and run in f32.
"""

import argparse
import json
import pathlib
import re
import shutil

import numpy as np
import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

HERE = pathlib.Path(__file__).parent / "peft"
SIDE, PATCH, IMAGE_TOKEN = 12, 4, 45
PROMPT = [1, 7, 12, IMAGE_TOKEN, 33, 8, 21]

ADAPTERS = {
    # language model and vision tower, scaled by alpha/r
    "plain": dict(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"]),
    # every member that changes the scale, and replaced modules
    "patterns": dict(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "gate_proj"], use_rslora=True,
                     rank_pattern={"layers.1.self_attn.v_proj": 2, "gate_proj": 3},
                     alpha_pattern={"^model.language_model.layers.0.self_attn.q_proj": 15, "gate_proj": 1},
                     modules_to_save=["multi_modal_projector", "lm_head"]),
}


def check_versions():
    for module, version in ((torch, "2.15.0"), (transformers, "5.24.0"), (peft, "0.21.2")):
        if not module.__version__.startswith(version):
            raise SystemExit(f"{module.__name__} {version} is needed, found {module.__version__}")


def randomize(model, seed, is_changed):
    """Fills the parameters whose names `is_changed` accepts, in the order of their names."""
    rng = np.random.Generator(np.random.PCG64(seed))
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if not is_changed(name):
                continue
            noise = torch.from_numpy(rng.standard_normal(tuple(parameter.shape)).astype(np.float32))
            if re.search(r"norm\d?\.weight$", name):
                parameter.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.2 * noise)
            elif "embed" in name:
                parameter.copy_(noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)


def write_base(directory):
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
                                       image_size=SIDE, patch_size=PATCH, projection_dim=16),
        text_config=LlamaConfig(hidden_size=24, intermediate_size=28, num_hidden_layers=2, num_attention_heads=3,
                                num_key_value_heads=3, vocab_size=50, max_position_embeddings=128),
        image_token_index=IMAGE_TOKEN)
    model = LlavaForConditionalGeneration(config)
    randomize(model, 1, lambda name: True)
    model.to(torch.bfloat16).save_pretrained(directory)


def read_base(directory):
    return LlavaForConditionalGeneration.from_pretrained(directory, dtype=torch.float32,
                                                         attn_implementation="eager").eval()


def is_of_adapter(name):
    return "lora_" in name or "modules_to_save" in name


def tidy_config(path):
    """Replaces the local path of the base and sorts the set of target modules, so that two runs agree."""
    config = json.loads(path.read_text())
    config.update(base_model_name_or_path="example/base", target_modules=sorted(config["target_modules"]))
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def golden(model, pixels):
    at = PROMPT.index(IMAGE_TOKEN)
    patches = (SIDE // PATCH) ** 2
    ids = PROMPT[:at] + [IMAGE_TOKEN] * patches + PROMPT[at + 1:]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), pixel_values=pixels).logits[0, -1]
    return {"pixel_values": pixels, "prompt_ids": torch.tensor(PROMPT, dtype=torch.int32),
            "logits": logits.contiguous()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=HERE)
    output = parser.parse_args().output
    check_versions()
    shutil.rmtree(output, ignore_errors=True)
    write_base(output / "base")
    rng = np.random.Generator(np.random.PCG64(5))
    pixels = torch.from_numpy(rng.standard_normal((1, 3, SIDE, SIDE)).astype(np.float32))
    plain = golden(read_base(output / "base"), pixels)["logits"]
    for seed, (name, options) in enumerate(ADAPTERS.items(), start=10):
        adapted = get_peft_model(read_base(output / "base"), LoraConfig(**options))
        randomize(adapted, seed, is_of_adapter)
        adapted.save_pretrained(output / name)
        (output / name / "README.md").unlink()  # a template
        tidy_config(output / name / "adapter_config.json")
        loaded = PeftModel.from_pretrained(read_base(output / "base"), output / name).eval()
        tensors = golden(loaded, pixels)
        change = (tensors["logits"] - plain).norm() / plain.norm()
        print(f"{name}: the adapter changes the logits by {change:.2f} of their norm")
        save_file(tensors, output / name / "golden.safetensors")


if __name__ == "__main__":
    main()
