// Loading a whole model from a directory, and what is refused at its door.
#include "pllava/pipeline.hpp"

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/forked_child.hpp"
#include "support/temp_directory.hpp"

namespace {

using namespace pllava;
namespace fs = std::filesystem;

const fs::path kTokenizer = fs::path(PLLAVA_TEST_DATA) / "tokenizer" / "tokenizer.json";

/// A tiny checkpoint with everything that `load` reads.
struct Directory : test::TempDirectory {
  Directory() {
    const Tokenizer tokenizer = Tokenizer::from_file(kTokenizer);
    ModelConfig config = ModelConfig::preset("tiny");
    config.image_token = *tokenizer.id_of(kVideoToken);
    config.text.vocab = std::max(config.text.vocab, tokenizer.size());
    write_random_checkpoint(path(), config, 2);
    fs::copy_file(kTokenizer, path() / "tokenizer.json");
  }
  std::string refusal() const {
    return test::message_of<LoadError>([&] { Pipeline::load(path()); });
  }
};

Clip clip(Index frames, Index width = 64, Index height = 48) {
  Clip c;
  for (Index t = 0; t < frames; ++t) {
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height * 3));
    for (std::size_t i = 0; i < pixels.size(); ++i)
      pixels[i] = static_cast<std::uint8_t>(i * 3 + static_cast<std::size_t>(t) * 40);
    c.frames.push_back(Frame::own(std::move(pixels), width, height));
  }
  return c;
}

std::vector<std::int32_t> answer(const Pipeline& model, const Clip& c) {
  return model.watch(c).ask("What?", {.max_new_tokens = 8}).output_ids;
}

TEST_CASE("A directory loads, and copies share its weights", "[pipeline]") {
  const Directory dir;
  const Pipeline model = Pipeline::load(dir.path(), {}, {.threads = 2});
  CHECK(model.frames() == 16);
  const Pipeline copy = model;
  CHECK(&copy.config() == &model.config());
  CHECK(answer(copy, clip(16)) == answer(model, clip(16)));
}

TEST_CASE("A forked child can use and destroy a model and a session", "[pipeline]") {
  if (!test::can_fork_beside_threads()) return;
  const Directory dir;
  std::optional<Pipeline> model = Pipeline::load(dir.path(), {}, {.threads = 3});
  std::optional<Session> session = model->watch(clip(16));
  const auto video = session->mark();
  const auto expected = session->ask("What?", {.max_new_tokens = 8}).output_ids;
  const auto ask = [&] {
    session->rewind(video);
    return session->ask("What?", {.max_new_tokens = 8}).output_ids;
  };
  CHECK(test::in_child([&] {
          if (ask() != expected || answer(*model, clip(16)) != expected) return 1;
          session.reset();
          model.reset();
          return 0;
        }) == 0);
  CHECK(ask() == expected);
}

TEST_CASE("A 16-bit checkpoint is computed in bf16 by default", "[pipeline]") {
  const Directory dir;  // bf16
  const auto logits = [&](std::optional<DType> dtype) {
    Session session = Pipeline::load(dir.path(), {}, {.dtype = dtype}).watch(clip(16));
    return session.ask("What?", {.max_new_tokens = 1, .first_logits = true}).first_logits;
  };
  const std::vector<float> unasked = logits({});
  CHECK(unasked == logits(DType::bf16));
  CHECK(unasked != logits(DType::f32));
  write_random_checkpoint(dir.path(), Checkpoint::open(dir.path()).config(), 2, DType::f32);
  CHECK(logits({}) == logits(DType::f32));
}

TEST_CASE("Type and threads are among the load options", "[pipeline]") {
  const Directory dir;  // bf16
  const auto logits = [&](const LoadOptions& options, const cpu::BackendOptions& backend = {}) {
    Session session = Pipeline::load(dir.path(), options, backend).watch(clip(16));
    return session.ask("What?", {.max_new_tokens = 1, .first_logits = true}).first_logits;
  };
  CHECK(logits({.dtype = DType::f32, .threads = 2}) == logits({}, {.dtype = DType::f32}));
  CHECK(logits({.dtype = DType::f32}, {.dtype = DType::bf16}) == logits({}));
  CHECK_THROWS_AS(logits({.threads = -1}), ArgumentError);
  CHECK_THROWS_AS(logits({.threads = 100000}), ArgumentError);
}

TEST_CASE("Loading reports every tensor and can be cancelled at each", "[pipeline]") {
  const Directory dir;
  Index last = -1, total = 0;
  std::atomic<bool> cancel{false};
  const RunControl control{&cancel, [&](std::string_view stage, Index done, Index all) {
                             CHECK(stage == "load");
                             CHECK(done == last + 1);
                             last = done, total = all;
                           }};
  Pipeline::load(dir.path(), {}, {.threads = 1}, control);
  CHECK(last == total);
  CHECK(total == model_tensors(ModelConfig::preset("tiny")).required());
  last = -1;
  const RunControl stopped{&cancel,
                           [&](std::string_view, Index done, Index) { cancel = done == 5; }};
  CHECK_THROWS_AS(Pipeline::load(dir.path(), {}, {.threads = 1}, stopped), CancelledError);
  cancel = true;
  CHECK_THROWS_AS(Pipeline::random(ModelConfig::preset("tiny"), 0, {}, stopped), CancelledError);
}

TEST_CASE("Random weights need no directory", "[pipeline]") {
  const Pipeline model = Pipeline::random(ModelConfig::preset("tiny"), 3, {.threads = 2});
  const auto ids = answer(model, clip(16));
  CHECK(ids.size() == 8);
  CHECK(answer(Pipeline::random(ModelConfig::preset("tiny"), 3, {.threads = 1}), clip(16)) == ids);
  CHECK(answer(Pipeline::random(ModelConfig::preset("tiny"), 4), clip(16)) != ids);
}

TEST_CASE("A session reserves the requested capacity", "[pipeline]") {
  const Pipeline model = Pipeline::random(ModelConfig::preset("tiny"));
  WatchOptions options;
  options.capacity = 200;
  Session session = model.watch(clip(16), options);
  CHECK(session.capacity() == 200);
  const Index left = 200 - session.length();
  CHECK_THROWS_AS(session.ask(std::string(static_cast<std::size_t>(left), 'x')), ContextError);
  CHECK(session.ask("What?", {.max_new_tokens = 1000}).finish_reason == FinishReason::length);
  CHECK(session.length() == 200);
  options.capacity = model.config().text.context + 1;
  CHECK_THROWS_AS(model.watch(clip(16), options), ContextError);
  options.capacity = -1;
  CHECK_THROWS_AS(model.watch(clip(16), options), ArgumentError);
  CHECK(model.watch(clip(16)).capacity() == model.config().text.context);
}

TEST_CASE("The same model on the reference backend gives the same answer", "[pipeline]") {
  const Directory dir;
  const Checkpoint checkpoint = Checkpoint::open(dir.path());
  const Pipeline model(reference::Backend(), checkpoint.config(), checkpoint[""],
                       Tokenizer::from_directory(dir.path()),
                       PreprocessConfig::from_directory(dir.path()));
  CHECK(answer(model, clip(16)) ==
        answer(Pipeline::load(dir.path(), {}, {.dtype = DType::f32}), clip(16)));
}

TEST_CASE("Frames and pool of the load options replace the checkpoint's", "[pipeline]") {
  const Directory dir;
  const Pipeline model = Pipeline::load(dir.path(), {.frames = 4, .pool = Grid{2, 1, 1}});
  CHECK(model.frames() == 4);
  const Index rows = model.watch(clip(4)).report().prefix_tokens;
  const Pipeline plain = Pipeline::load(dir.path());
  CHECK(plain.config().pool.output.count() == 64);
  CHECK(rows == plain.watch(clip(16)).report().prefix_tokens - 64 + 2);
}

TEST_CASE("A clip with too few frames is sampled like a file of that length", "[pipeline]") {
  const Directory dir;
  const Pipeline model = Pipeline::load(dir.path());
  const Clip five = clip(5);
  Clip repeated;
  for (const Index i : sample_indices(SamplingRule::eval, 5, 16))
    repeated.frames.push_back(five.frames[static_cast<std::size_t>(i)]);
  CHECK(answer(model, five) == answer(model, repeated));
  // Frames that share their pixels are encoded once, with the same result as copies of them.
  Clip copies = repeated;
  for (Frame& f : copies.frames)
    f = Frame::own({f.data, f.data + f.height * f.stride}, f.width, f.height);
  WatchOptions traced;
  traced.trace = true;
  Index encoded = 0;
  traced.control.progress = [&](std::string_view stage, Index, Index total) {
    if (stage == "vision") encoded = total;
  };
  const Session once = model.watch(repeated, traced);
  CHECK(encoded == 5);
  const Session all = model.watch(copies, traced);
  CHECK(encoded == 16);
  CHECK(once.report().trace.pixel_values == all.report().trace.pixel_values);
  CHECK(once.report().trace.vision_features == all.report().trace.vision_features);
  CHECK(once.report().trace.video_embeddings == all.report().trace.video_embeddings);
  CHECK(answer(model, clip(1)).size() == 8);
}

TEST_CASE("Frames of one pixel, 8K and extreme aspect ratios work", "[pipeline]") {
  const Directory dir;
  const Pipeline model = Pipeline::load(dir.path());
  const auto size = GENERATE(std::pair<Index, Index>{1, 1}, std::pair<Index, Index>{7680, 4320},
                             std::pair<Index, Index>{1, 30}, std::pair<Index, Index>{30, 1});
  INFO(size.first << "x" << size.second);
  CHECK(answer(model, clip(1, size.first, size.second)).size() == 8);
}

TEST_CASE("Frames without pixels leave the model usable", "[pipeline]") {
  const Directory dir;
  const Pipeline model = Pipeline::load(dir.path());
  const auto expected = answer(model, clip(2));
  Clip broken = clip(2);
  broken.frames[1].data = nullptr;
  CHECK_THROWS_AS(model.watch(broken), MediaError);
  broken.frames[1] = Frame{};
  CHECK_THROWS_AS(model.watch(broken), MediaError);
  // so oblong that the reference's first stage would need gigabytes
  CHECK_THROWS_AS(model.watch(clip(1, 100'000, 1)), MediaError);
  CHECK(answer(model, clip(2)) == expected);
}

TEST_CASE("Missing and inconsistent files are refused by name", "[pipeline]") {
  Directory dir;
  CHECK(test::contains(test::message_of<LoadError>([] { Pipeline::load("no/such/folder"); }),
                       "no/such/folder"));
  const auto without = [&](const std::string& name) {
    const fs::path file = dir.path() / name, aside = dir.path() / "aside";
    fs::rename(file, aside);
    const std::string message = dir.refusal();
    fs::rename(aside, file);
    return message;
  };
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    INFO(name);
    CHECK(test::contains(without(name), dir.path().string()));
  }
  const auto with = [&](const std::string& name, const std::string& text) {
    const fs::path file = dir.path() / name, aside = dir.path() / "aside";
    fs::rename(file, aside);
    test::write_file(file, text);
    const std::string message = dir.refusal();
    fs::rename(aside, file);
    return message;
  };
  std::string vocabulary = test::read_file(kTokenizer);
  for (std::size_t at; (at = vocabulary.find("<image>")) != std::string::npos;)
    vocabulary.replace(at, 7, "<video>");
  CHECK(test::contains(with("tokenizer.json", vocabulary), "got no such token"));
  CHECK(test::contains(with("preprocessor_config.json",
                            R"({"crop_size":{"height":8,"width":8},"size":{"shortest_edge":8}})"),
                       "crop_size"));
  CHECK(test::contains(with("config.json", R"({"model_type":"bert"})"), "model_type"));
  CHECK(dir.refusal().empty());
}

}  // namespace
