"""What the scripts of tiny random models share: make_next_video_golden.py, make_onevision_golden.py,
make_picture_golden.py."""

import torch

STEPS = 64  # greedy tokens


def random_model(kind, config, seed, directory):
    """A model of this class with random weights that are exact in bf16: saved, and loaded in f32.
    Loading computes the rotary frequencies in f32; a conversion would round them to bf16."""
    torch.manual_seed(seed)
    model = kind(config).float()
    for key, parameter in model.named_parameters():
        if "norm" in key and key.endswith("weight"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        else:
            torch.nn.init.normal_(parameter, std=0.3 if "language_model" in key else 0.15)
    model.to(torch.bfloat16).save_pretrained(directory)
    return kind.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


def merged_ids(prompt, image, token, count):
    """The prompt (1, N) with `count` times `token` in the place of the id `image`."""
    place = prompt.tolist().index(image)
    return torch.cat([prompt[:place], torch.full((count,), token), prompt[place + 1:]])[None]


def answer(model, ids, **pixels):
    """The logits after the prompt and the greedy ids; None if two tokens come close: rounding could
    choose the other."""
    tokens = []
    for _ in range(STEPS):
        logits = model(input_ids=ids, **pixels).logits[0, -1]
        best = torch.topk(logits, 2).values
        if best[0] - best[1] < 2e-3 * logits.abs().max():
            return None
        first = logits if not tokens else first
        tokens.append(int(logits.argmax()))
        ids = torch.cat([ids, logits.argmax().view(1, 1)], dim=1)
    return dict(logits=first, greedy_ids=torch.tensor(tokens, dtype=torch.int32))
