// Several adapters over one loaded base.
#include <atomic>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pllava/cpu/backend.hpp"
#include "pllava/models/language_model.hpp"
#include "pllava/pipeline.hpp"
#include "pllava/weights/shared_weights.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/tiny_model.hpp"

using namespace pllava;

namespace {

using Catch::Matchers::Contains;

const std::filesystem::path kData = PLLAVA_TEST_DATA "/peft";

LoadOptions options(const std::filesystem::path& base = {}) {
  LoadOptions options;
  options.base = base;
  options.frames = 1;
  options.pool = Grid{1, 3, 3};
  return options;
}

/// A token for each of some characters, for the small vocabulary of the data.
Tokenizer characters() {
  const Index image_token = read_model_config(kData / "base").image_token;
  TokenizerParts parts;
  parts.unk_token = "?";
  for (Index i = 0; i < image_token; ++i)
    parts.vocab.push_back(std::string(1, static_cast<char>('?' + i)));
  parts.added_tokens.push_back(
      {.id = static_cast<std::int32_t>(image_token), .content = "<image>"});
  return Tokenizer(std::move(parts));
}

Pipeline load(const std::filesystem::path& directory, const LoadOptions& with) {
  return Pipeline::load(ModelFiles::open(directory, with, characters()),
                        cpu::Backend({.dtype = DType::f32, .threads = 1}));
}

std::vector<float> logits(const Pipeline& model) {
  Clip clip = test::moving_clip();
  clip.frames.resize(1);
  GenerateOptions generate;
  generate.max_new_tokens = 1;
  generate.first_logits = true;
  return model.watch(clip).ask("?", generate).first_logits;
}

/// Counts the tensors that are read.
class CountingWeights final : public WeightSource {
 public:
  HostTensor tensor(const TensorSpec& spec) const override {
    ++reads;
    return weights_.tensor(spec);
  }
  bool contains(const std::string& name) const override { return weights_.contains(name); }

  mutable std::atomic<int> reads = 0;

 private:
  WeightScope weights_ = RandomWeights::scope(5);
};

}  // namespace

TEST_CASE("Adapters of one base answer as each loaded alone", "[adapter]") {
  const Pipeline base = load(kData / "base", options());
  const std::vector<float> without = logits(base);
  const Pipeline plain = base.with_adapter(kData / "plain");
  const Pipeline patterns = plain.with_adapter(kData / "patterns");
  for (const auto& [model, name] : {std::pair{&plain, "plain"}, {&patterns, "patterns"}}) {
    INFO(name);
    const std::vector<float> alone = logits(load(kData / name, options(kData / "base")));
    CHECK(logits(*model) == alone);
    CHECK(alone != without);
  }
  CHECK(logits(base) == without);

  LoadOptions doubled = options(kData / "base");
  doubled.lora_alpha = 64;
  CHECK(logits(base.with_adapter(kData / "plain", 64)) == logits(load(kData / "plain", doubled)));
  // A model that was itself loaded with an adapter: the other one lies over the same base.
  const Pipeline first = load(kData / "plain", options(kData / "base"));
  CHECK(logits(first.with_adapter(kData / "patterns")) == logits(patterns));
}

TEST_CASE("What is not an adapter of a loaded base is refused", "[adapter]") {
  const Pipeline base = load(kData / "base", options());
  CHECK_THROWS_AS(base.with_adapter(kData / "none"), LoadError);
  CHECK_THAT(test::message_of<LoadError>([&] { base.with_adapter(kData / "base"); }),
             Contains("an adapter over"));
  CHECK_THROWS_AS(base.with_adapter(kData / "plain", -1.0), ArgumentError);
  const Pipeline random = Pipeline::random(ModelConfig::preset("tiny"));
  CHECK_THROWS_AS(random.with_adapter(kData / "plain"), ArgumentError);
}

TEST_CASE("Models that share weights read only their own", "[adapter]") {
  cpu::Backend be({.dtype = DType::f32, .threads = 1});
  const TextConfig config = ModelConfig::preset("tiny").text;
  const auto shared = std::make_shared<SharedWeights>();
  const auto reads = [&](std::set<std::string> own) {
    const auto counting = std::make_shared<const CountingWeights>();
    const LanguageModel<cpu::Backend> model(
        be, config, share(WeightScope(counting), shared, std::move(own))["language_model"]);
    return counting->reads.load();
  };
  const int all = reads({});
  CHECK(all > 10);
  CHECK(reads({}) == 0);
  // The query projection is prepared together with those of keys and values.
  CHECK(reads({"language_model.model.layers.0.self_attn.q_proj.weight"}) == 3);
  CHECK(reads({"language_model.model.norm.weight"}) == 1);
}
