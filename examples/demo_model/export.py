"""Writes a trained model as a directory in the published layout, for `pllava --model`.

    python export.py --state runs/state.pt --tokenizer runs/tokenizer.json --output weights

The weights are rounded to bf16. Auxiliary heads and optimiser state are not exported.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

from model import IMAGE_MEAN, IMAGE_STD, Config, Pllava
from tokenizer import BOS, EOS

PAD = 0


def config_json(c: Config) -> dict:
    """config.json in the published layout."""
    return {
        "architectures": ["PllavaForConditionalGeneration"],
        "frame_shape": [c.grid, c.grid],
        "image_token_index": c.image_token,
        "model_type": "llava",
        "num_frames": c.frames,
        "pad_token_id": PAD,
        "pooling_method": "avg",
        "pooling_shape": list(c.pool),
        "projector_hidden_act": "gelu",
        "text_config": {
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": c.width,
            "intermediate_size": c.ffn,
            "max_position_embeddings": 1024,
            "model_type": "llama",
            "num_attention_heads": c.heads,
            "num_hidden_layers": c.layers,
            "num_key_value_heads": c.kv_heads,
            "pad_token_id": PAD,
            "rms_norm_eps": c.rms_eps,
            "rope_theta": c.rope_theta,
            "torch_dtype": "bfloat16",
            "vocab_size": c.vocab,
        },
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.37.1",
        "use_pooling": True,
        "vision_config": {
            "hidden_act": "quick_gelu",
            "hidden_size": c.vision_width,
            "image_size": c.image,
            "intermediate_size": c.vision_ffn,
            "model_type": "clip_vision_model",
            "num_attention_heads": c.vision_heads,
            "num_hidden_layers": c.vision_layers,
            "patch_size": c.patch,
            "projection_dim": c.vision_width,
        },
        "vision_feature_layer": c.feature_layer,
        "vision_feature_select_strategy": "default",
        "vocab_size": c.vocab,
    }


def config_from_json(file: dict, lora_rank: int) -> Config:
    """The inverse of config_json(). `file` does not contain the rank of the LoRA.

    Raises ValueError if config_json() of the result differs from `file`.
    """
    try:
        text, vision = file["text_config"], file["vision_config"]
        config = Config(
            image=vision["image_size"], patch=vision["patch_size"], vision_width=vision["hidden_size"],
            vision_layers=vision["num_hidden_layers"], vision_heads=vision["num_attention_heads"],
            vision_ffn=vision["intermediate_size"], feature_layer=file["vision_feature_layer"],
            frames=file["num_frames"], pool=tuple(file["pooling_shape"]), vocab=file["vocab_size"],
            image_token=file["image_token_index"], width=text["hidden_size"],
            layers=text["num_hidden_layers"], heads=text["num_attention_heads"],
            kv_heads=text["num_key_value_heads"], ffn=text["intermediate_size"],
            rope_theta=text["rope_theta"], rms_eps=text["rms_norm_eps"], lora_rank=lora_rank)
        written = config_json(config)
    except KeyError as error:
        raise ValueError(f"config.json: missing key {error}") from error
    except (TypeError, ZeroDivisionError) as error:
        raise ValueError(f"config.json: invalid value: {error}") from error
    if written != file:
        names = [name for name in sorted({*written, *file}) if written.get(name) != file.get(name)]
        raise ValueError(f"config.json: values that model.py does not support: {', '.join(names)}")
    return config


def preprocessor_json(c: Config) -> dict:
    return {
        "crop_size": {"height": c.image, "width": c.image},
        "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
        "image_mean": list(IMAGE_MEAN), "image_std": list(IMAGE_STD),
        "image_processor_type": "CLIPImageProcessor", "processor_class": "PllavaProcessor",
        "resample": 3, "rescale_factor": 1 / 255, "size": {"shortest_edge": c.image},
    }


def write_directory(directory: pathlib.Path, model: Pllava, tokenizer: pathlib.Path) -> None:
    """Writes all files of the checkpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": config_json(model.config),
        "preprocessor_config.json": preprocessor_json(model.config),
        "generation_config.json": {"_from_model_config": True, "bos_token_id": BOS, "eos_token_id": EOS,
                                   "pad_token_id": PAD, "transformers_version": "4.37.1"},
    }
    for name, value in files.items():
        (directory / name).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
    if tokenizer.resolve() != (directory / "tokenizer.json").resolve():
        shutil.copyfile(tokenizer, directory / "tokenizer.json")
    weights = {name: t.detach().to("cpu", torch.bfloat16).contiguous() for name, t in model.state_dict().items()}
    file = directory / "model.safetensors"
    save_file(weights, file, {"format": "pt"})
    file.chmod(0o644)


def read_directory(directory: pathlib.Path) -> Pllava:
    """Loads the model of an exported directory, in f32."""
    file = json.loads((directory / "config.json").read_text())
    weights = load_file(directory / "model.safetensors")
    ranks = {len(weight) for name, weight in weights.items() if name.endswith("lora_A.default.weight")}
    if len(ranks) != 1:
        found = ", ".join(map(str, sorted(ranks))) or "none"
        raise ValueError(f"{directory / 'model.safetensors'}: expected a LoRA of one rank, got {found}")
    model = Pllava(config_from_json(file, *ranks))
    model.load_state_dict({name: t.float() for name, t in weights.items()})
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=pathlib.Path, required=True, help="state.pt of train.py")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, help="tokenizer.json of the training")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="directory to write")
    options = parser.parse_args()
    model = Pllava()
    model.load_state_dict(torch.load(options.state, map_location="cpu", weights_only=True)["model"])
    write_directory(options.output, model, options.tokenizer)
    size = sum(file.stat().st_size for file in options.output.iterdir())
    print(f"{options.output}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
