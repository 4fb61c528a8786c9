"""Writes tiny random text-only checkpoints with transformers' save_pretrained, and what transformers
computes from them in f32: tests/data/decoder/NAME/.

Usage: python make_decoder_goldens.py
Made with transformers 5.24.0, torch 2.15.0 (CPU) and safetensors 0.6 or later, not those of
requirements.txt: the directories are as a present transformers writes them.
"""

import itertools
import pathlib

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config

COMMON = dict(vocab_size=67, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=160,
              bos_token_id=1, eos_token_id=2, pad_token_id=0)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32, rope_theta=500000.0)
CONFIGS = {
    "llama3": LlamaConfig(**COMMON, rms_norm_eps=1e-5, rope_parameters=LLAMA3),
    "mistral": MistralConfig(**COMMON, rms_norm_eps=1e-5, sliding_window=120, head_dim=16,
                             rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
    "qwen2": Qwen2Config(**COMMON, rms_norm_eps=1e-6, tie_word_embeddings=True,
                         rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
}
STEPS = 64


def random_model(config, seed):
    """A model whose weights are exact in bf16."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    for key, parameter in model.named_parameters():
        if "norm" in key:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        else:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.to(torch.bfloat16)


@torch.no_grad()
def greedy(model, prompt):
    """The logits of the first new token and STEPS greedy tokens. None if two tokens come close:
    rounding could choose the other one."""
    ids, first = prompt, None
    for _ in range(STEPS):
        logits = model(ids).logits[0, -1]
        best = torch.topk(logits, 2).values
        if best[0] - best[1] < 2e-3 * logits.abs().max():
            return None
        first = logits if first is None else first
        ids = torch.cat([ids, logits.argmax().view(1, 1)], dim=1)
    return first, ids[0, prompt.shape[1]:]


def main():
    torch.set_num_threads(1)
    for name, config in CONFIGS.items():
        directory = pathlib.Path(__file__).parent / "decoder" / name
        for seed in itertools.count():
            model = random_model(config, seed)
            prompt = torch.randint(3, config.vocab_size, (1, 24))
            model.save_pretrained(directory)
            # Loading computes the rotary frequencies in f32; a conversion would round them to bf16.
            saved = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32,
                                                         attn_implementation="eager")
            result = greedy(saved.eval(), prompt)
            if result is not None:
                break
        save_file({"prompt_ids": prompt[0].int().contiguous(), "logits": result[0].contiguous(),
                   "greedy_ids": result[1].int().contiguous()}, directory / "golden.safetensors")
        print(f"{name}: seed {seed}, {sum(f.stat().st_size for f in directory.iterdir())} bytes")


main()
