// What the bundled model says about the bundled clips, held against the truth. Whatever makes
// answers worse (a kernel, a cheaper format, a pruned step) fails here, however small its numerical
// error.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/pllava.hpp"
#include "pllava/video.hpp"
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

/// How the model is computed.
struct Computation {
  const char* name;
  DType dtype;
  WeightFormat weights = WeightFormat::plain;
  bool int8_kv = false;
};

const std::vector<Computation> kComputations = {
    {"f32", DType::f32},
    {"bf16", DType::bf16},
    {"int8", DType::bf16, WeightFormat::int8},
    {"int4", DType::bf16, WeightFormat::int4},
    {"int4, 8-bit keys and values", DType::bf16, WeightFormat::int4, true}};

const Pipeline& model(const Computation& c) {
  static std::map<std::string, Pipeline> models;
  const auto found = models.find(c.name);
  if (found != models.end()) return found->second;
  LoadOptions options;
  options.quantize = QuantizeOptions::of(c.weights);
  return models
      .emplace(c.name,
               Pipeline::load(kDemo / "weights", options, {.dtype = c.dtype, .int8_kv = c.int8_kv}))
      .first->second;
}

Clip clip_of(const Pipeline& m, const json& entry) {
  const fs::path video = kDemo / "evaluation" / "video" / entry.at("video").get<std::string>();
  return Video::open(video.string()).sample(m.frames());
}

bool says(const std::string& caption, const std::string& words) {
  return caption.find(words) != std::string::npos;
}

/// MVBench's way to put a question: the options have letters, the answer is one of them.
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

/// Captions that name every thing by colour and kind, and every single motion of level 1.
void check_captions(const Computation& c, double things_at_least, double motions_at_least) {
  const Pipeline& m = model(c);
  Tally things, motions;
  for (const json& entry : truth()) {
    const std::string caption =
        m.watch(clip_of(m, entry)).ask("Describe the video in details.").text;
    for (const json& thing : entry.at("scene").at("things"))
      things.add(says(caption, thing.at("colour").get<std::string>() + " " +
                                   thing.at("kind").get<std::string>()));
    if (entry.at("level") == 1 && !entry.at("story").empty()) {
      const auto motion = entry.at("scene").at("events").at(0).at("direction").get<std::string>();
      motions.add(says(caption, " " + motion + "."));
    }
  }
  INFO(c.name << ": things " << things.right << " of " << things.all << ", motions "
              << motions.right << " of " << motions.all);
  CHECK(things.rate() >= things_at_least);
  CHECK(motions.rate() >= motions_at_least);
}

void check_answers(const Computation& c, double at_least) {
  const Pipeline& m = model(c);
  WatchOptions benchmark;
  benchmark.task = "mvbench";
  Tally answers;
  for (const json& entry : truth()) {
    Session session = m.watch(clip_of(m, entry), benchmark);
    const auto video = session.mark();
    for (const json& qa : entry.at("questions")) {
      const MultipleChoice question(qa);
      session.rewind(video);
      answers.add(question.right(session.ask(question.text, {.max_new_tokens = 20}).text));
    }
  }
  INFO(c.name << ": answers " << answers.right << " of " << answers.all);
  CHECK(answers.all >= 200);
  CHECK(answers.rate() >= at_least);
}

// The limits lie a little below what this model reaches in every computation (things 142 of 146,
// motions 22 of 22, answers 584 to 586 of 597, where guessing gives 0.34); they are to be raised
// with every better model.
TEST_CASE("The bundled model names what it sees and where it moves", "[meaning]") {
  for (const Computation& c : kComputations) check_captions(c, 0.965, 0.95);
}

TEST_CASE("The bundled model answers multiple choice", "[meaning]") {
  for (const Computation& c : kComputations) check_answers(c, 0.965);
}

}  // namespace
