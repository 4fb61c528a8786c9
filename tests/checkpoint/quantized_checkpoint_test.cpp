// Quantized checkpoints.
#include "pllava/checkpoint/quantized_checkpoint.hpp"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/temp_directory.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
namespace fs = std::filesystem;
using nlohmann::json;

/// A small sharded checkpoint with an unmerged PEFT LoRA.
const fs::path kModel = PLLAVA_TEST_DATA "/model/peft_sharded";

LoadOptions options(WeightFormat format, Index group = 32, bool zero_points = false) {
  LoadOptions o;
  o.quantize = QuantizeOptions::of(format);
  o.quantize.language.group = group;
  o.quantize.language.zero_points = zero_points;
  return o;
}

/// Logits after a few tokens; they depend on every matrix of the language model.
template <Backend B = cpu::Backend>
std::vector<float> logits(const fs::path& directory, const LoadOptions& o,
                          B be = cpu::Backend({.dtype = DType::bf16, .threads = 2})) {
  const Checkpoint checkpoint = Checkpoint::open(directory, o);
  const LanguageModel<B> model(be, checkpoint.config().text, checkpoint["language_model"]);
  KvCache<B> kv = model.make_cache(be, 16);
  Tensor<B> y(be, {1, checkpoint.config().text.vocab}, DType::f32);
  const std::vector<std::int32_t> ids = {1, 5, 9, 3};
  auto x = model.embed(be, ids);
  model.forward(be, x, kv, y);
  return detail::to_floats(be, y);
}

std::vector<std::byte> read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::byte> bytes(fs::file_size(path));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

void write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TEST_CASE("Logits of a quantized checkpoint equal those of quantization at load",
          "[quantized_checkpoint]") {
  const test::TempDirectory temp;
  int number = 0;
  for (const LoadOptions& o :
       {options(WeightFormat::int8), options(WeightFormat::int4), options(WeightFormat::int4, 128),
        options(WeightFormat::int4, 32, true)}) {
    const fs::path out = temp.path() / std::to_string(number++);
    write_quantized_checkpoint(out, kModel, o);
    const Checkpoint quantized = Checkpoint::open(out);
    CHECK(quantized.stored_formats() == o.quantize);
    CHECK(quantized.report().clean());
    CHECK(quantized.report().parameters == Checkpoint::open(kModel).report().parameters);
    CHECK(quantized.report().lora_layers == 0);
    const auto expected = logits(kModel, o);
    CHECK(logits(out, {}) == expected);
    CHECK(logits(out, o) == expected);  // requesting the stored formats is a no-op
    CHECK(test::distance(expected, logits(kModel, {})) > 1e-4);
  }
}

TEST_CASE("An fp8 checkpoint equals quantization at load, and the CPU refuses it",
          "[quantized_checkpoint]") {
  const test::TempDirectory temp;
  const fs::path out = temp.path() / "fp8";
  const LoadOptions o = options(WeightFormat::fp8);
  write_quantized_checkpoint(out, kModel, o);
  CHECK(Checkpoint::open(out).stored_formats() == o.quantize);
  const auto expected = logits(kModel, o, reference::Backend());
  CHECK(logits(out, {}, reference::Backend()) == expected);
  CHECK(test::distance(expected, logits(kModel, {}, reference::Backend())) > 1e-4);
  CHECK_THROWS_AS(logits(out, {}), ArgumentError);
}

TEST_CASE("LoRA is merged before quantization", "[quantized_checkpoint]") {
  const test::TempDirectory temp;
  LoadOptions o = options(WeightFormat::int8);
  o.lora_alpha = 32;
  write_quantized_checkpoint(temp.path() / "a", kModel, o);
  CHECK(logits(temp.path() / "a", {}) == logits(kModel, o));
  CHECK(logits(temp.path() / "a", {}) != logits(kModel, options(WeightFormat::int8)));
}

TEST_CASE("A failed quantization leaves no files", "[quantized_checkpoint]") {
  const test::TempDirectory temp;
  const fs::path out = temp.path() / "out";
  CHECK_THROWS_AS(write_quantized_checkpoint(out, kModel, {}), ArgumentError);
  CHECK_THROWS_AS(
      write_quantized_checkpoint(out, temp.path() / "none", options(WeightFormat::int8)),
      LoadError);
  Index reports = 0;
  const RunControl cancel{nullptr, [&](std::string_view, Index, Index) {
                            if (++reports == 5) throw CancelledError("enough");
                          }};
  CHECK_THROWS_AS(write_quantized_checkpoint(out, kModel, options(WeightFormat::int8), cancel),
                  CancelledError);
  CHECK(fs::is_empty(temp.path()));
}

TEST_CASE("A quantized checkpoint is neither overwritten nor quantized again",
          "[quantized_checkpoint]") {
  const test::TempDirectory temp;
  const fs::path out = temp.path() / "out";
  write_quantized_checkpoint(out, kModel, options(WeightFormat::int8));
  const auto before = read(out / "model.safetensors");
  CHECK_THROWS_AS(write_quantized_checkpoint(out, kModel, options(WeightFormat::int4)), FileError);
  CHECK(read(out / "model.safetensors") == before);
  CHECK_THROWS_AS(write_quantized_checkpoint(temp.path() / "b", out, options(WeightFormat::int8)),
                  ArgumentError);
  CHECK_THROWS_AS(Checkpoint::open(out, options(WeightFormat::int4)), ArgumentError);
}

TEST_CASE("A quantized checkpoint that contradicts its config.json throws LoadError",
          "[quantized_checkpoint]") {
  const test::TempDirectory temp;
  const fs::path good = temp.path() / "good", bad = temp.path() / "bad";
  write_quantized_checkpoint(good, kModel, options(WeightFormat::int4));
  const auto config = json::parse(std::ifstream(good / "config.json"));
  const auto expect_load_error = [&](const json& changed, const std::string& part) {
    fs::remove_all(bad);
    fs::copy(good, bad);
    write(bad / "config.json", changed.dump());
    try {
      Checkpoint::open(bad);
      FAIL("loaded: " << changed.at("pllava_weights").dump());
    } catch (const LoadError& e) {
      CHECK(std::string(e.what()).find(part) != std::string::npos);
    }
  };
  json changed = config;
  changed["pllava_weights"]["language"]["group"] = 128;
  expect_load_error(changed, "down_proj");  // rows of another size
  changed["pllava_weights"]["language"]["group"] = 48;
  expect_load_error(changed, "32 or 128");
  changed = config;
  changed["pllava_weights"]["language"].erase("rotation");  // as earlier versions wrote it
  expect_load_error(changed, "quantized again");
  changed = config;
  changed["pllava_weights"]["language"] = {{"format", "int2"}};
  expect_load_error(changed, "int8");
  changed["pllava_weights"] = {{"vision", {{"format", "unquantized"}}},
                               {"language", {{"format", "unquantized"}}}};
  expect_load_error(changed, "expected F32, F16 or BF16, got U8");
}

TEST_CASE("A NaN channel scale is an error that names the tensor", "[quantized_checkpoint]") {
  const test::TempDirectory temp;
  const fs::path bad = temp.path() / "bad";
  write_quantized_checkpoint(bad, kModel, options(WeightFormat::int4));
  const std::string name = "language_model.model.layers.0.mlp.down_proj.weight";
  const auto entry = *SafetensorsFile::open(bad / "model.safetensors").find(name);
  std::fstream file(bad / "model.safetensors", std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(entry.offset));
  file.write("\xff\xff\xff\xff", 4);
  file.close();
  try {
    logits(bad, {});
    FAIL("loaded a NaN scale");
  } catch (const LoadError& e) {
    CHECK(std::string(e.what()).find(name) != std::string::npos);
  }
}

}  // namespace
