// Weights that a first load leaves for the next ones.
#include "pllava/cpu/packed_weights.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "pllava/pllava.hpp"
#include "pllava/weights/safetensors.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/temp_directory.hpp"

namespace {

using namespace pllava;
namespace fs = std::filesystem;

const fs::path kDemo = fs::path(PLLAVA_DEMO_MODEL) / "weights";

/// What a model says of the same pixels.
std::vector<float> logits(const Pipeline& model) {
  std::vector<std::uint8_t> bytes(96 * 96 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i / 7);
  Clip clip;
  clip.frames.push_back(Frame::borrow(bytes.data(), 96, 96));
  Session session = model.watch(clip);
  return session.ask("What?", {.max_new_tokens = 1, .first_logits = true}).first_logits;
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST_CASE("Weights come out of the cache as they would be packed", "[packed_weights]") {
  const test::TempDirectory temp;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const WeightFormat format :
         {WeightFormat::unquantized, WeightFormat::int8, WeightFormat::int4}) {
      INFO(name_of(dtype) << ' ' << name_of(format));
      LoadOptions options;
      options.quantize = QuantizeOptions::of(format);
      const auto load = [&] { return Pipeline::load(kDemo, options, {.dtype = dtype}); };
      const auto expected = logits(load());
      options.cache = temp.path() / (std::string(name_of(dtype)) + std::string(name_of(format)));
      CHECK((logits(load()) == expected));
      const auto made = fs::last_write_time(options.cache);
      CHECK((logits(load()) == expected));
      CHECK(fs::last_write_time(options.cache) == made);
      // A changed byte anywhere in the file is found: the file is what was read.
      const std::string whole = read(options.cache);
      for (const std::size_t at : {whole.size() / 7, whole.size() / 2, whole.size() - 3000}) {
        std::string bytes = whole;
        bytes[at] ^= 16;
        write(options.cache, bytes);
        CHECK(test::message_of<LoadError>(load).find("checksum") != std::string::npos);
      }
    }
}

TEST_CASE("A cache that was made of something else is made anew", "[packed_weights]") {
  const test::TempDirectory temp;
  const fs::path model = temp.path() / "model";
  fs::copy(kDemo, model);
  LoadOptions options;
  options.cache = temp.path() / "cache";
  const auto load = [&] { return Pipeline::load(model, options, {.dtype = DType::f32}); };
  load();
  const std::string first = read(options.cache);
  options.lora_alpha = 32;
  const auto stronger = logits(load());
  CHECK((read(options.cache) != first));
  CHECK((stronger != logits(Pipeline::load(model, {}, {.dtype = DType::f32}))));
  const std::string second = read(options.cache);
  const fs::path weights = model / "model.safetensors";
  fs::last_write_time(weights, fs::last_write_time(weights) + std::chrono::seconds(2));
  load();
  CHECK((read(options.cache) != second));
  CHECK((logits(load()) == stronger));
}

TEST_CASE("A broken cache is refused with what to do, and no file but a cache is replaced",
          "[packed_weights]") {
  const test::TempDirectory temp;
  LoadOptions options;
  options.cache = temp.path() / "cache";
  const auto load = [&] { return Pipeline::load(kDemo, options, {.dtype = DType::f32}); };
  load();
  const std::string whole = read(options.cache);
  for (const std::string& bytes :
       {whole.substr(0, whole.size() - 1), whole.substr(0, whole.size() / 2), whole + "x"}) {
    write(options.cache, bytes);
    try {
      load();
      FAIL("a broken cache was taken");
    } catch (const LoadError& e) {
      CHECK(std::string(e.what()).find("delete the file") != std::string::npos);
      CHECK(e.file() == options.cache.string());
    }
    CHECK((read(options.cache) == bytes));
  }
  write(options.cache, "my diary");
  CHECK_THROWS_AS(load(), LoadError);
  CHECK(read(options.cache) == "my diary");
  options.cache = temp.path() / "none" / "cache";
  CHECK_THROWS_AS(load(), FileError);
}

TEST_CASE("A checkpoint replaced with its size and time kept is packed again", "[packed_weights]") {
  const test::TempDirectory temp;
  const fs::path model = temp.path() / "model";
  fs::copy(kDemo, model);
  LoadOptions options;
  options.cache = temp.path() / "cache";
  const auto load = [&] { return Pipeline::load(model, options, {.dtype = DType::f32}); };
  const auto before = logits(load());
  const fs::path weights = model / "model.safetensors";
  const auto time = fs::last_write_time(weights);
  std::string bytes = read(weights);
  // Far from the sampled bytes of a tensor of 64 KiB or more.
  const SafetensorsFile file = SafetensorsFile::open(weights);
  const auto large = std::ranges::find_if(
      file.entries(), [](const SafetensorsEntry& e) { return e.size >= 65536; });
  REQUIRE(large != file.entries().end());
  const auto changed = [&](std::size_t at) {
    std::string other = bytes;
    other[at] ^= 1;
    const std::string cached = read(options.cache);
    write(weights, other);
    fs::last_write_time(weights, time);
    load();
    const bool packed_again = read(options.cache) != cached;
    write(weights, bytes);
    fs::last_write_time(weights, time);
    load();
    return packed_again;
  };
  CHECK(changed(bytes.size() - 1));
  CHECK(changed(large->offset + large->size / 4));
  // The same file under a relative path keeps its cache.
  const std::string repacked = read(options.cache);
  const fs::path relative = fs::relative(model);
  REQUIRE(relative.is_relative());
  Pipeline::load(relative, options, {.dtype = DType::f32});
  CHECK((read(options.cache) == repacked));
  // So does a file that is written again with the same bytes and time.
  write(weights, bytes);
  fs::last_write_time(weights, time);
  CHECK((logits(load()) == before));
  CHECK((read(options.cache) == repacked));
}

TEST_CASE("Packed weights refuse a weight at another weight's place", "[packed_weights]") {
  const test::TempDirectory temp;
  const fs::path path = temp.path() / "cache";
  const WeightScope weights = RandomWeights::scope(3);
  const HostTensor a = weights.tensor("a", {64, 32}), b = weights.tensor("b", {64, 32});
  HostTensor table = weights.tensor("c", {16, 32}), other = weights.tensor("d", {16, 32});
  table.name = other.name = "";  // computed by the model: identified by their bytes
  struct Load {
    const HostTensor* tensor;
    WeightRole role = WeightRole::linear;
  };
  const auto load = [&](std::initializer_list<Load> order, DType dtype = DType::f32) {
    const auto packed = std::make_shared<cpu::PackedWeights>(path, "the same model");
    cpu::Backend be({.dtype = dtype, .threads = 1, .packed = packed});
    for (const Load& l : order) be.prepare({l.tensor, 1}, l.role);
    packed->commit();
  };
  load({{&a}, {&b}, {&table, WeightRole::vector}});
  load({{&a}, {&b}, {&table, WeightRole::vector}});
  HostTensor reshaped = a, quantized = a;
  reshaped.shape = {32, 64};
  quantized.quantization.format = WeightFormat::int8;
  const auto refused = [&](std::initializer_list<Load> order, DType dtype = DType::f32) {
    try {
      load(order, dtype);
    } catch (const LoadError& e) {
      CHECK(std::string(e.what()).find("do not fit this model") != std::string::npos);
      return e.file() == path.string();
    }
    return false;
  };
  CHECK(refused({{&b}, {&a}, {&table, WeightRole::vector}}));  // two loads swapped
  CHECK(refused({{&reshaped}, {&b}, {&table, WeightRole::vector}}));
  CHECK(refused({{&quantized}, {&b}, {&table, WeightRole::vector}}));
  CHECK(refused({{&a, WeightRole::table}, {&b}, {&table, WeightRole::vector}}));
  CHECK(refused({{&a}, {&b}, {&other, WeightRole::vector}}));
  CHECK(refused({{&a}, {&b}, {&table, WeightRole::vector}}, DType::bf16));
  CHECK(refused({{&a}, {&b}}));
  CHECK(refused({{&a}, {&b}, {&table, WeightRole::vector}, {&a}}));
}

TEST_CASE("A load that is cancelled leaves no cache", "[packed_weights]") {
  const test::TempDirectory temp;
  LoadOptions options;
  options.cache = temp.path() / "cache";
  RunControl control;
  std::atomic<bool> cancel{false};
  control.cancel = &cancel;
  control.progress = [&](std::string_view, Index done, Index total) { cancel = done > total / 2; };
  CHECK_THROWS_AS(Pipeline::load(kDemo, options, {.dtype = DType::f32}, control), CancelledError);
  CHECK(fs::is_empty(temp.path()));
}

}  // namespace
