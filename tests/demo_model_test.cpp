// Quality of the bundled model's answers about the bundled clips. A change that makes answers worse
// (in a kernel or a weight format) fails here, however small its numerical error.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/media/video.hpp"
#include "pllava/pllava.hpp"
#include "support/catch.hpp"

namespace {

using namespace pllava;
namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kDemo = PLLAVA_DEMO_MODEL;

struct Tally {
  Index right = 0, all = 0;
  void add(bool is_right) {
    right += is_right;
    ++all;
  }
  double rate() const { return static_cast<double>(right) / static_cast<double>(all); }
};

json truth() {
  std::ifstream file(kDemo / "evaluation" / "truth.json");
  return json::parse(file);
}

struct Computation {
  DType dtype;
  WeightFormat weights = WeightFormat::unquantized;
  bool int8_kv = false;
};

/// One thread: the matrices are small, and ctest runs tests in parallel.
Pipeline model(const Computation& c) {
  LoadOptions options;
  options.quantize = QuantizeOptions::of(c.weights);
  return Pipeline::load(kDemo / "weights", options,
                        {.dtype = c.dtype, .threads = 1, .int8_kv = c.int8_kv});
}

Clip clip_of(const Pipeline& m, const json& entry) {
  const fs::path video = kDemo / "evaluation" / "video" / entry.at("video").get<std::string>();
  return Video::open(video.string()).sample(m.frames());
}

bool says(const std::string& caption, const std::string& words) {
  return caption.find(words) != std::string::npos;
}

/// A question in the form of MVBench: options with letters; the answer is a letter.
struct MultipleChoice {
  std::string text;
  char letter = 'A';

  explicit MultipleChoice(const json& qa)
      : text("Question: " + qa.at("question").get<std::string>() + "\nOptions:") {
    char option = 'A';
    for (const json& candidate : qa.at("candidates")) {
      if (candidate == qa.at("answer")) letter = option;
      text += std::string("\n(") + option++ + ") " + candidate.get<std::string>();
    }
  }
  bool right(const std::string& answer) const {
    return answer.starts_with(std::string(1, letter) + ")");  // the prompt ends with "("
  }
};

/// Counts the things that captions name by color and kind, and the motions of clips of level 1.
struct Captions {
  Tally things, motions;

  void add(const std::string& caption, const json& entry) {
    for (const json& thing : entry.at("scene").at("things"))
      things.add(says(caption, thing.at("colour").get<std::string>() + " " +
                                   thing.at("kind").get<std::string>()));
    if (entry.at("level") != 1 || entry.at("story").empty()) return;
    const auto motion = entry.at("scene").at("events").at(0).at("direction").get<std::string>();
    motions.add(says(caption, " " + motion + "."));
  }
};

/// Captions all clips and asks all questions. The limits are slightly below the results of this
/// model in each computation: things 143 of 146, motions 22 of 22, answers 583 to 586 of 597
/// (guessing: 0.34). Raise them with a better model.
void check(const Computation& c) {
  const Pipeline m = model(c);
  WatchOptions benchmark;
  benchmark.task = "mvbench";
  Captions captions;
  Tally answers;
  for (const json& entry : truth()) {
    const Clip clip = clip_of(m, entry);
    captions.add(m.watch(clip).ask("Describe the video in details.").text, entry);
    Session session = m.watch(clip, benchmark);
    const auto video = session.mark();
    for (const json& qa : entry.at("questions")) {
      const MultipleChoice question(qa);
      session.rewind(video);
      answers.add(question.right(session.ask(question.text, {.max_new_tokens = 20}).text));
    }
  }
  const auto& [things, motions] = captions;
  INFO("things " << things.right << " of " << things.all << ", motions " << motions.right << " of "
                 << motions.all << ", answers " << answers.right << " of " << answers.all);
  CHECK(answers.all >= 200);
  CHECK(things.rate() >= 0.97);
  CHECK(motions.rate() >= 0.95);
  CHECK(answers.rate() >= 0.97);
}

TEST_CASE("the bundled model captions and answers correctly in f32", "[meaning]") {
  check({DType::f32});
}

TEST_CASE("the bundled model captions and answers correctly in bf16", "[meaning]") {
  check({DType::bf16});
}

TEST_CASE("the bundled model captions and answers correctly in int8", "[meaning]") {
  check({DType::bf16, WeightFormat::int8});
}

TEST_CASE("the bundled model captions and answers correctly in int4 with an int8 KV cache",
          "[meaning]") {
  check({DType::bf16, WeightFormat::int4, true});
}

}  // namespace
