// Fuzz target: the files of a model directory. The first byte of the input selects the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/checkpoint/model_parts.hpp"
#include "pllava/cpu/packed_weights.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/text_architecture.hpp"
#include "pllava/text/tokenizer.hpp"
#include "pllava/weights/safetensors.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pllava;

const fs::path& directory() {
  static const fs::path path = [] {
    std::string name = (fs::temp_directory_path() / "pllava-fuzz-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    return fs::path(name);
  }();
  return path;
}

void run(char kind, std::string_view text) {
  const auto write = [&](const char* name) {
    const fs::path file = directory() / name;
    std::ofstream(file, std::ios::binary) << text;
    return file;
  };
  // The input is the header of a GGUF file; the tensors are zeros.
  const auto write_padded = [&](const char* name) {
    const fs::path file = directory() / name;
    std::ofstream(file, std::ios::binary) << text << std::string(1 << 18, '\0');
    return file;
  };
  switch (kind) {
    case 't': {
      const Tokenizer tokenizer = Tokenizer::from_file(write("tokenizer.json"));
      tokenizer.decode(tokenizer.encode("A dog <image> runs\n\xf0\x9f\x98\x80 e\xff"));
      return;
    }
    case 'c':
      write("config.json");
      read_model_config(directory());
      return;
    case 'p':
      write("preprocessor_config.json");
      PreprocessConfig::from_directory(directory());
      return;
    case 's': {
      const auto file = SafetensorsFile::open(write("model.safetensors"));
      for (const auto& entry : file.entries()) file.find(entry.name);
      return;
    }
    case 'g': {
      const fs::path file = write_padded("text.gguf");
      const Tokenizer tokenizer = read_tokenizer(file);
      tokenizer.decode(tokenizer.encode("A dog <image> runs\n\xf0\x9f\x98\x80 e"));
      Checkpoint::open(file, {.strict = false, .architectures = text_architectures()});
      return;
    }
    case 'v': {
      LoadOptions options;
      options.strict = false;
      options.mmproj = write_padded("vision.gguf");
      const fs::path text = fs::path(PLLAVA_TEST_DATA) / "gguf_model" / "llama.gguf";
      read_preprocess(text, options);
      Checkpoint::open(text, options);
      return;
    }
    case 'w': cpu::PackedWeights(write("weights.packed"), "origin"); return;
    default: return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    run(static_cast<char>(data[0]), {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const Error&) {
  }
  return 0;
}
