"""Writes a LLaVA checkpoint whose CLIP tower computes a DINOv2 model's features.

Usage: fold_dinov2.py MODEL.onnx TOKENIZER.json DIRECTORY   (called by dinov2.py)
Needs onnx, torch and safetensors.

DINOv2 has what a CLIP tower has not: LayerScale, a bias of the patch embedding, no norm before the
layers. The features stay the same, up to rounding and their mean over the channels:

- LayerNorm ignores the mean of its input. Embeddings, out_proj and fc2 are centred, so the residual
  stream has mean 0 in every row. LayerScale multiplies the rows of out_proj and fc2.
- 64 channels are added. pre_layrnorm sees them as constants of +C and -C, so large that its
  deviation does not depend on the row: its gain is that deviation, which gives back the row, and 0
  for the added channels, which are 0 from there on.
- With 64 zeros among 448 channels of mean 0, the variance is 384/448 of that of the 384: gains and
  epsilon of the other norms are scaled by it. The added channels are a seventh head of zeros.
- Positions are interpolated to the image size and take the bias of the patch embedding.

The language model is a tiny random one: only the tower is of interest.
"""

import json
import math
import pathlib
import shutil
import sys

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file

CHANNELS, ADDED, HEADS, LAYERS, FFN, PATCH = 384, 64, 6, 12, 1536, 14
IMAGE, EPSILON, CONSTANT = 224, 1e-6, 1024.0
WIDTH = CHANNELS + ADDED
TEXT = dict(model_type="llama", hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5)


def read_weights(path):
    """The weights of Dinov2Model, as transformers 5 names them, from its export to ONNX."""
    graph = onnx.load(path).graph
    arrays = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    weights = {n.removeprefix("backbone."): t for n, t in arrays.items() if n.startswith("backbone.")}
    for node in graph.node:  # matrices have no names of their own
        if node.op_type == "MatMul" and node.input[1] in arrays and node.name.startswith("/backbone/"):
            name = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            weights[name + ".weight"] = arrays[node.input[1]].T.contiguous()
        if node.op_type == "Reshape" and node.input[0] in arrays:
            patches = arrays[node.input[0]]
        if node.op_type == "Concat" and node.input[0] in arrays and arrays[node.input[0]].shape == (1, 1, CHANNELS):
            first = arrays[node.input[0]]
    weights["embeddings.position_embeddings"] = torch.cat([first, patches], dim=1)
    weights["embeddings.mask_token"] = torch.zeros(1, CHANNELS)
    renamed = {"attention.attention.query": "attention.q_proj", "attention.attention.key": "attention.k_proj",
               "attention.attention.value": "attention.v_proj", "attention.output.dense": "attention.o_proj"}
    for old, new in renamed.items():
        weights = {name.replace(old, new): tensor for name, tensor in weights.items()}
    return weights


def centred(rows):
    """Subtracts the mean over the output channels, dimension 0."""
    return rows - rows.mean(dim=0, keepdim=True)


def padded(tensor, *sizes):
    """Zeros after the end of each dimension."""
    out = torch.zeros(sizes, dtype=tensor.dtype)
    out[tuple(slice(0, n) for n in tensor.shape)] = tensor
    return out


def positions(weights):
    """(patches + 1, channels), interpolated to the patches of the image."""
    table = weights["embeddings.position_embeddings"][0].double()
    side, new = math.isqrt(len(table) - 1), IMAGE // PATCH
    grid = table[1:].reshape(1, side, side, CHANNELS).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    return torch.cat([table[:1], grid.permute(0, 2, 3, 1).reshape(-1, CHANNELS)])


def fold(weights):
    """The tensors of the CLIP tower."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    out = {}
    convolution = "embeddings.patch_embeddings.projection."
    table = positions(weights)
    table[1:] += w[convolution + "bias"]
    table = centred(table.T).T
    constants = CONSTANT * (1 - 2 * (torch.arange(ADDED) % 2)).double()
    out["embeddings.class_embedding"] = padded(centred(w["embeddings.cls_token"].reshape(-1)), WIDTH)
    out["embeddings.patch_embedding.weight"] = padded(centred(w[convolution + "weight"]), WIDTH, 3, PATCH, PATCH)
    out["embeddings.position_embedding.weight"] = torch.cat(
        [table, constants.expand(len(table), ADDED)], dim=1)
    deviation = math.sqrt(ADDED * CONSTANT**2 / WIDTH)
    out["pre_layrnorm.weight"] = padded(torch.full((CHANNELS,), deviation).double(), WIDTH)
    out["pre_layrnorm.bias"] = torch.zeros(WIDTH).double()
    gain = math.sqrt(CHANNELS / WIDTH)
    for i in range(LAYERS):
        theirs, ours = f"encoder.layer.{i}.", f"encoder.layers.{i}."
        for n in ("1", "2"):
            out[f"{ours}layer_norm{n}.weight"] = padded(gain * w[f"{theirs}norm{n}.weight"], WIDTH)
            out[f"{ours}layer_norm{n}.bias"] = padded(w[f"{theirs}norm{n}.bias"], WIDTH)
        for name in ("q_proj", "k_proj", "v_proj"):
            source, target = f"{theirs}attention.{name}.", f"{ours}self_attn.{name}."
            out[target + "weight"] = padded(w[source + "weight"], WIDTH, WIDTH)
            out[target + "bias"] = padded(w[source + "bias"], WIDTH)
        out[ours + "mlp.fc1.weight"] = padded(w[theirs + "mlp.fc1.weight"], FFN, WIDTH)
        out[ours + "mlp.fc1.bias"] = w[theirs + "mlp.fc1.bias"]
        for source, scale, target, columns in (("attention.o_proj.", "1", "self_attn.out_proj.", WIDTH),
                                               ("mlp.fc2.", "2", "mlp.fc2.", FFN)):
            lambdas = w[f"{theirs}layer_scale{scale}.lambda1"]
            out[ours + target + "weight"] = padded(
                centred(lambdas[:, None] * w[theirs + source + "weight"]), WIDTH, columns)
            out[ours + target + "bias"] = padded(centred(lambdas * w[theirs + source + "bias"]), WIDTH)
    return {f"vision_tower.vision_model.{name}": t.float().contiguous() for name, t in out.items()}


def random_rest(vocabulary):
    """A projector and a decoder that nothing is expected of."""
    torch.manual_seed(1)
    width, ffn = TEXT["hidden_size"], TEXT["intermediate_size"]
    matrix = dict(q_proj=(width, width), k_proj=(width, width), v_proj=(width, width), o_proj=(width, width))
    shapes = {"multi_modal_projector.linear_1.weight": (width, WIDTH), "multi_modal_projector.linear_1.bias": (width,),
              "multi_modal_projector.linear_2.weight": (width, width), "multi_modal_projector.linear_2.bias": (width,),
              "language_model.model.embed_tokens.weight": (vocabulary, width),
              "language_model.lm_head.weight": (vocabulary, width), "language_model.model.norm.weight": (width,)}
    layer = "language_model.model.layers.0."
    shapes |= {f"{layer}self_attn.{name}.weight": shape for name, shape in matrix.items()}
    shapes |= {f"{layer}mlp.{name}.weight": shape for name, shape in
               dict(gate_proj=(ffn, width), up_proj=(ffn, width), down_proj=(width, ffn)).items()}
    shapes |= {f"{layer}{name}.weight": (width,) for name in ("input_layernorm", "post_attention_layernorm")}
    return {name: torch.randn(shape) / 4 for name, shape in shapes.items()}


def write_checkpoint(weights, tokenizer, directory):
    directory.mkdir(parents=True)
    tokens = json.loads(tokenizer.read_text(encoding="utf-8"))
    ids = list(tokens["model"]["vocab"].values()) + [t["id"] for t in tokens["added_tokens"]]
    image = next(t["id"] for t in tokens["added_tokens"] if t["content"] == "<image>")
    vocabulary = max(ids) + 1
    config = {
        "model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "image_token_index": image,
        "num_frames": 1, "pooling_shape": [1, 2, 2], "vision_feature_layer": LAYERS,
        "text_config": TEXT | {"vocab_size": vocabulary},
        "vision_config": {"model_type": "clip_vision_model", "hidden_size": WIDTH, "intermediate_size": FFN,
                          "num_hidden_layers": LAYERS, "num_attention_heads": HEADS + 1, "image_size": IMAGE,
                          "patch_size": PATCH, "hidden_act": "gelu", "layer_norm_eps": EPSILON * CHANNELS / WIDTH}}
    preprocessor = {"crop_size": {"height": IMAGE, "width": IMAGE}, "size": {"shortest_edge": IMAGE}, "resample": 3,
                    "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    shutil.copy(tokenizer, directory / "tokenizer.json")
    save_file(fold(weights) | random_rest(vocabulary), directory / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    write_checkpoint(read_weights(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
