// An architecture of the tests goes through loading, checks, quantization, sessions and backends
// that know nothing of it.
#include "pllava/models/architecture.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/temp_directory.hpp"
#include "support/tiny_model.hpp"
#include "support/toy_architecture.hpp"

namespace {

using namespace pllava;
namespace fs = std::filesystem;
using Architectures = ArchitectureList<Llava, test::ToyArchitecture>;

/// A checkpoint directory of the toy architecture; the tensor `except` is left out.
void write_toy(const fs::path& directory, const std::string& except = {}) {
  const fs::path tokenizer = fs::path(PLLAVA_TEST_DATA) / "tokenizer" / "tokenizer.json";
  fs::create_directories(directory);
  fs::copy_file(tokenizer, directory / "tokenizer.json", fs::copy_options::overwrite_existing);
  const Tokenizer read = Tokenizer::from_file(tokenizer);
  test::write_file(directory / "config.json",
                   R"({"model_type": "toy", "n_vocab": )" + std::to_string(read.size()) +
                       R"(, "image_token": )" + std::to_string(*read.id_of(kVideoToken)) + "}");
  test::write_file(directory / "preprocessor_config.json",
                   R"({"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}})");
  const RandomWeights random(5);
  std::vector<NamedTensor> tensors;
  for (const TensorSpec& spec :
       test::ToyArchitecture::tensors(test::ToyArchitecture::read_config(directory)))
    if (spec.name != except) tensors.push_back({spec.name, random.tensor(spec)});
  write_safetensors(directory / "model.safetensors", tensors);
}

Answer answer(const Pipeline& model, const Clip& clip) {
  return model.watch(clip).ask("What?", {.max_new_tokens = 8, .first_logits = true});
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference = std::max(difference, std::abs(static_cast<double>(a[i]) - b[i]));
  return difference;
}

TEST_CASE("An architecture of the user's runs in sessions on every backend", "[architecture]") {
  const test::TempDirectory temp;
  write_toy(temp.path());
  const Pipeline cpu = Pipeline::load<Architectures>(temp.path(), cpu::Backend({.threads = 2}));
  const Pipeline reference = Pipeline::load<Architectures>(temp.path(), reference::Backend());
  CHECK(cpu.config().model_type == "toy");
  const Clip clip = test::moving_clip(4);
  const Answer expected = answer(reference, clip), got = answer(cpu, clip);
  CHECK(expected.output_ids.size() == 8);
  CHECK(got.output_ids == expected.output_ids);
  CHECK(largest_difference(got.first_logits, expected.first_logits) < 1e-4);

  Clip other = test::moving_clip(5);
  other.frames.erase(other.frames.begin());
  CHECK(largest_difference(answer(cpu, other).first_logits, got.first_logits) > 1e-4);
  CHECK(answer(cpu, clip).first_logits == got.first_logits);
  const EncodedVideo video = cpu.encode_frames(clip.frames);
  CHECK(video.tokens() == 16);
  CHECK(cpu.watch(video).ask("What?", {.max_new_tokens = 8}).output_ids == got.output_ids);

  Session session = cpu.watch(clip);
  const auto mark = session.mark();
  session.ask("Who?", {.max_new_tokens = 3});
  session.rewind(mark);
  CHECK(session.ask("What?", {.max_new_tokens = 8}).output_ids == got.output_ids);
}

TEST_CASE("The table of the user's architecture drives checks and quantization", "[architecture]") {
  const test::TempDirectory temp;
  write_toy(temp.path());
  LoadOptions options;
  options.architectures = Architectures::kInfos;
  const Checkpoint checkpoint = Checkpoint::open(temp.path(), options);
  CHECK(checkpoint.report().clean());
  CHECK(checkpoint.report().tensors == checkpoint.tensors().required());

  const Clip clip = test::moving_clip(4);
  const Answer full =
      answer(Pipeline::load<Architectures>(temp.path(), cpu::Backend({.threads = 2})), clip);
  options.quantize = QuantizeOptions::of(WeightFormat::int8);
  const Answer int8 = answer(
      Pipeline::load<Architectures>(temp.path(), cpu::Backend({.threads = 2}), options), clip);
  const double difference = largest_difference(int8.first_logits, full.first_logits);
  CHECK(difference > 0);
  CHECK(difference < 0.1);

  write_toy(temp.path(), "decoder.h.1.ln_2.bias");
  CHECK(test::contains(test::message_of<LoadError>([&] {
                         Pipeline::load<Architectures>(temp.path(), cpu::Backend({.threads = 1}));
                       }),
                       "missing: decoder.h.1.ln_2.bias"));
}

TEST_CASE("A model_type outside the list is refused with the accepted ones", "[architecture]") {
  const test::TempDirectory temp;
  write_toy(temp.path());
  const std::string message =
      test::message_of<LoadError>([&] { Pipeline::load(temp.path(), {}, {.threads = 1}); });
  CHECK(test::contains(message, "\"toy\""));
  CHECK(test::contains(message, "\"llava_next\""));
  const fs::path demo = fs::path(PLLAVA_DEMO_MODEL) / "weights";
  CHECK_THROWS_AS(
      Pipeline::load<ArchitectureList<test::ToyArchitecture>>(demo, cpu::Backend({.threads = 1})),
      LoadError);
  // The longer list still loads a checkpoint of the built-in family.
  CHECK(Pipeline::load<Architectures>(demo, cpu::Backend({.threads = 1})).config().model_type !=
        "toy");
}

}  // namespace
