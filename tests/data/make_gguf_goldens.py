"""Writes a GGUF file with a tensor of each type and some metadata, and the tensors as gguf's own
dequantisation gives them: tests/data/gguf/types.gguf and types.safetensors.

Usage: python make_gguf_goldens.py
Made with gguf 0.17 or later (gguf.quants), numpy 2, safetensors. The K types, which gguf cannot
quantise in Python, have random blocks with plausible scales.
"""

import pathlib

import numpy as np
from gguf import GGMLQuantizationType as T, GGUFWriter
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

ROWS, COLUMNS = 2, 512
random = np.random.default_rng(5)
out = pathlib.Path(__file__).parent / "gguf"
out.mkdir(exist_ok=True)
writer = GGUFWriter(out / "types.gguf", "llama")
writer.add_uint32("test.small", 7)
writer.add_int32("test.negative", -3)
writer.add_float32("test.float", 0.5)
writer.add_bool("test.flag", True)
writer.add_string("test.text", "grüße")
writer.add_array("test.numbers", [1, -2, 3])
writer.add_array("test.texts", ["a", "", "b c"])

values = random.standard_normal((ROWS, COLUMNS)).astype(np.float32)
expected = {}


def halves(*shape):
    return (random.random(shape, dtype=np.float32) * 0.1).astype(np.float16).view(np.uint8)


def random_blocks(kind):
    """Blocks of a K type: random bits, scales between 0 and 0.1."""
    blocks = ROWS * COLUMNS // 256
    size = {T.Q4_K: 144, T.Q5_K: 176, T.Q6_K: 210}[kind]
    data = random.integers(0, 256, (blocks, size), dtype=np.uint8)
    if kind == T.Q6_K:
        data[:, 208:210] = halves(blocks, 1)
    else:
        data[:, 0:4] = halves(blocks, 2)
    return data.reshape(ROWS, -1)


for kind in (T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K):
    name = kind.name.lower()
    if kind == T.F32:
        writer.add_tensor(name, values)
        expected[name] = values
    elif kind == T.F16:
        writer.add_tensor(name, values.astype(np.float16))
        expected[name] = values.astype(np.float16).astype(np.float32)
    else:
        data = random_blocks(kind) if name.endswith("_k") else quantize(values, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
        expected[name] = dequantize(data, kind).astype(np.float32).reshape(ROWS, COLUMNS)
writer.add_tensor("vector", np.arange(5, dtype=np.float32))
expected["vector"] = np.arange(5, dtype=np.float32)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file(expected, out / "types.safetensors")
print({f.name: f.stat().st_size for f in out.iterdir()})
