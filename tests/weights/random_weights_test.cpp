// Random weights: reproducibility, distribution, and random checkpoints.
#include "pllava/weights/random_weights.hpp"

#include <cmath>
#include <cstring>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/checkpoint/random_checkpoint.hpp"
#include "pllava/models/architecture.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"

using namespace pllava;

namespace {

float at(const HostTensor& t, Index i) {
  return load_float(t.data, t.dtype, i);
}

bool equal(const HostTensor& x, const HostTensor& y) {
  return x.dtype == y.dtype && x.shape == y.shape &&
         std::memcmp(x.data, y.data,
                     static_cast<std::size_t>(x.shape.count() * size_of(x.dtype))) == 0;
}

}  // namespace

TEST_CASE("Random weights depend only on the seed and the name", "[random_weights]") {
  const Shape shape{32, 48};
  const HostTensor x = RandomWeights(1).tensor({.name = "a.weight", .shape = shape});
  CHECK(equal(x, RandomWeights(1).tensor({.name = "a.weight", .shape = shape})));
  CHECK_FALSE(equal(x, RandomWeights(2).tensor({.name = "a.weight", .shape = shape})));
  CHECK_FALSE(equal(x, RandomWeights(1).tensor({.name = "b.weight", .shape = shape})));
  CHECK(equal(x, RandomWeights::scope(1)["a"].tensor("weight", shape)));
  CHECK(RandomWeights::scope(1)["any"].contains("thing"));
}

TEST_CASE("16-bit random weights are the f32 ones rounded to nearest", "[random_weights]") {
  const HostTensor x = RandomWeights(1).tensor({.name = "a.weight", .shape = {8, 16}});
  const HostTensor b = RandomWeights(1, DType::bf16).tensor({.name = "a.weight", .shape = {8, 16}});
  const HostTensor h = RandomWeights(1, DType::f16).tensor({.name = "a.weight", .shape = {8, 16}});
  for (Index i = 0; i < 128; ++i) {
    REQUIRE(at(b, i) == to_float(from_float<bf16>(at(x, i))));
    REQUIRE(at(h, i) == to_float(from_float<f16>(at(x, i))));
  }
}

TEST_CASE("Random weights have the mean and std of their initializer", "[random_weights]") {
  struct Case {
    std::string name;
    Shape shape;
    Initializer initializer;
    double mean, std;
  };
  const Case cases[] = {{"layers.0.mlp.fc1.weight", {512, 256}, Initializer::matrix, 0, 1.0 / 16},
                        {"layers.0.mlp.fc2.weight", {64, 1024}, Initializer::matrix, 0, 1.0 / 32},
                        {"embeddings.patch_embedding.weight",
                         {64, 3, 14, 14},
                         Initializer::matrix,
                         0,
                         1 / std::sqrt(588.0)},
                        {"layers.0.mlp.fc1.bias", {4096}, Initializer::bias, 0, 0.02},
                        {"embed_tokens.weight", {64, 64}, Initializer::embedding, 0, 0.1},
                        {"layers.0.layer_norm1.weight", {256}, Initializer::ones, 1, 0},
                        {"model.norm.weight", {256}, Initializer::ones, 1, 0}};
  for (const Case& c : cases) {
    INFO(c.name);
    const HostTensor t =
        RandomWeights(3).tensor({.name = c.name, .shape = c.shape, .initializer = c.initializer});
    const Index n = c.shape.count();
    double sum = 0, squares = 0;
    for (Index i = 0; i < n; ++i) {
      sum += at(t, i);
      squares += double{at(t, i)} * at(t, i);
    }
    const double mean = sum / static_cast<double>(n);
    const double std = std::sqrt(std::max(0.0, squares / static_cast<double>(n) - mean * mean));
    CHECK(mean == Approx(c.mean).margin(5 * c.std / std::sqrt(static_cast<double>(n))));
    CHECK(std == Approx(c.std).epsilon(0.05).margin(1e-6));
  }
}

TEST_CASE("A random checkpoint passes strict loading and has the weights of its seed",
          "[random_weights]") {
  const test::TempDirectory dir;
  const auto path = dir.path() / "new" / "model";  // neither exists
  const ModelConfig config = ModelConfig::preset("tiny");
  write_random_checkpoint(path, config, 9, DType::f16);
  const Checkpoint checkpoint = Checkpoint::open(path);
  const RandomWeights weights(9, DType::f16);
  Index tensors = 0, parameters = 0;
  for (const TensorSpec& s : model_tensors(config)) {
    if (s.presence != Presence::required) continue;
    ++tensors;
    parameters += s.shape.count();
    const auto dot = s.name.find('.');
    INFO(s.name);
    CHECK(equal(checkpoint[s.name.substr(0, dot)].tensor(s.name.substr(dot + 1), s.shape),
                weights.tensor(s)));
  }
  const LoadReport& report = checkpoint.report();
  CHECK(report.tensors == tensors);
  CHECK(report.parameters == parameters);
  CHECK(report.bytes == static_cast<std::uint64_t>(parameters) * 2);
  CHECK(report.dtypes == std::map<std::string, Index>{{"F16", tensors}});
  CHECK(test::contains(report.str(), std::to_string(parameters) + " parameters"));
}

TEST_CASE("A configuration that config.json cannot hold is not written", "[random_weights]") {
  const test::TempDirectory dir;
  const auto refuses = [&](auto change) {
    ModelConfig config = ModelConfig::preset("tiny");
    change(config);
    CHECK_THROWS_AS(write_random_checkpoint(dir.path() / "x", config), ArgumentError);
    CHECK_FALSE(std::filesystem::exists(dir.path() / "x"));
  };
  refuses([](ModelConfig& m) { m.text.qkv_bias = true; });
  refuses([](ModelConfig& m) { m.text.rope_scaling.emplace(); });
  refuses([](ModelConfig& m) { m.projector.pools_first = true; });
  refuses([](ModelConfig& m) { m.pool.kind = PoolKind::maximum; });
  refuses([](ModelConfig& m) { m.eos_tokens.clear(); });
}

TEST_CASE("Random weights reject types that are not floating and paths that cannot be created",
          "[random_weights]") {
  CHECK(
      test::contains(test::message_of<ArgumentError>([] { RandomWeights(0, DType::i32); }), "i32"));
  const test::TempDirectory dir;
  const ModelConfig config = ModelConfig::preset("tiny");
  CHECK_THROWS_AS(write_random_checkpoint(dir.path() / "x", config, 0, DType::u8), ArgumentError);
  ModelConfig other = config;
  other.model_type = "llava_onevision";
  CHECK_THROWS_AS(write_random_checkpoint(dir.path() / "x", other), ArgumentError);
  CHECK_FALSE(std::filesystem::exists(dir.path() / "x"));
  test::write_file(dir.path() / "file", "");
  CHECK(test::contains(test::message_of<FileError>(
                           [&] { write_random_checkpoint(dir.path() / "file" / "x", config); }),
                       "cannot be created"));
}
