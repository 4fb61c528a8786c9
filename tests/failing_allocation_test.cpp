// Every allocation of the main calls fails once, and once with all allocations after it. The error
// arrives at the caller, objects stay usable, and files are complete or absent.
#include <atomic>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pllava/calibration/calibrate.hpp"
#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/failing_calls.hpp"
#include "support/tiny_model.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pllava;
using test::Failing;

std::set<std::string> names_in(const fs::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.insert(entry.path().filename().string());
  return names;
}

/// A random checkpoint with a tokenizer.
class ModelDirectory {
 public:
  ModelDirectory() {
    const fs::path from = fs::path(PLLAVA_TEST_DATA) / "tokenizer" / "tokenizer.json";
    const Tokenizer tokenizer = Tokenizer::from_file(from);
    ModelConfig config = ModelConfig::preset("tiny");
    config.image_token = *tokenizer.id_of(kVideoToken);
    config.text.vocab = std::max(config.text.vocab, tokenizer.size());
    write_random_checkpoint(path(), config, 3);
    fs::copy_file(from, path() / "tokenizer.json");
  }
  fs::path path() const { return dir_.path(); }

 private:
  test::TempDirectory dir_;
};

const GenerateOptions kShort{.max_new_tokens = 6};

std::string answer_of(const Pipeline& model) {
  return model.watch(test::moving_clip(4)).ask("What moves?", kShort).text;
}

TEST_CASE("A failed allocation while a model is loaded", "[failing_allocation]") {
  const ModelDirectory model;
  std::optional<Pipeline> loaded;
  std::string expected;
  test::with_failures(
      [&] {
        loaded.reset();
        loaded = Pipeline::load(model.path(), {}, {.threads = 3});
      },
      [&](bool succeeded, Failing) {
        if (expected.empty()) expected = answer_of(*loaded);
        REQUIRE(loaded.has_value() == succeeded);
        if (succeeded) CHECK(answer_of(*loaded) == expected);
        loaded.reset();
      });
}

TEST_CASE("A failed allocation while packed weights are written and read", "[failing_allocation]") {
  const ModelDirectory model;
  const test::TempDirectory temp;
  const fs::path cache = temp / "packed";
  LoadOptions options;
  options.cache = cache;
  options.quantize = QuantizeOptions::of(WeightFormat::int8);
  const auto load = [&] { Pipeline::load(model.path(), options, {.threads = 2}); };
  load();
  const std::string whole = test::read_file(cache);
  REQUIRE(!whole.empty());
  const auto check = [&](bool written) {
    REQUIRE(fs::exists(cache) >= written);
    if (fs::exists(cache)) REQUIRE(test::read_file(cache) == whole);
  };
  SECTION("written") {
    test::with_failures(
        [&] {
          fs::remove(cache.c_str());
          load();
        },
        [&](bool succeeded, Failing which) {
          check(succeeded);
          if (which == Failing::one)
            REQUIRE(names_in(temp.path()).size() == static_cast<std::size_t>(fs::exists(cache)));
          fs::remove(cache);
        });
    load();
    CHECK(names_in(temp.path()) == std::set<std::string>{"packed"});
  }
  SECTION("read") {
    test::with_failures(load, [&](bool, Failing) { check(true); });
  }
}

TEST_CASE("A failed allocation while a video is encoded", "[failing_allocation]") {
  const Pipeline model = test::tiny_model({.threads = 3});
  const Clip clip = test::moving_clip(4);
  const std::string expected = answer_of(model);
  std::optional<EncodedVideo> video;
  test::with_failures(
      [&] {
        video.reset();
        video = model.encode(clip);
      },
      [&](bool succeeded, Failing) {
        REQUIRE(video.has_value() == succeeded);
        if (succeeded) CHECK(model.watch(*video).ask("What moves?", kShort).text == expected);
      });
  CHECK(answer_of(model) == expected);
}

TEST_CASE("A failed allocation while a session watches", "[failing_allocation]") {
  const Pipeline model = test::tiny_model({.threads = 3});
  const Clip clip = test::moving_clip(4);
  std::optional<Session> session;
  const std::string expected = answer_of(model);
  test::with_failures(
      [&] {
        session.reset();
        session = model.watch(clip);
      },
      [&](bool succeeded, Failing) {
        REQUIRE(session.has_value() == succeeded);
        if (succeeded) CHECK(session->ask("What moves?", kShort).text == expected);
      });
}

TEST_CASE("A session is unchanged after a failed allocation in ask", "[failing_allocation]") {
  const Pipeline model = test::tiny_model({.threads = 3});
  const Clip clip = test::moving_clip(4);
  GenerateOptions options = kShort;
  options.sampling = {.temperature = 1.0f, .top_k = 20, .top_p = 0.9f, .repetition_penalty = 1.1f};
  Session reference = model.watch(clip);
  const std::string first = reference.ask("What moves?").text;
  const Answer second = reference.ask("And where?", options);
  // The same with a stop string that ends the answer.
  GenerateOptions stopped = options;
  stopped.stop = {second.text.substr(second.text.size() / 2)};

  Session session = model.watch(clip);
  const auto video = session.mark();
  REQUIRE(session.ask("What moves?").text == first);
  auto before = session.mark();
  Index length = session.length();
  std::optional<Answer> answer;
  std::string pieces;
  int fresh = 0;
  test::with_failures(
      [&] {
        answer.reset();
        session.rewind(before);
        answer = session.ask("And where?", stopped, [&](std::string_view piece) {
          pieces += piece;
          return true;
        });
      },
      [&](bool succeeded, Failing) {
        REQUIRE(answer.has_value() == succeeded);
        if (!succeeded) {
          REQUIRE(session.length() == length);
          REQUIRE(session.ask("And where?", options).output_ids == second.output_ids);
        }
        session.rewind(before);
        if (++fresh % 8 != 0) return;
        // A new session: its scratch memory has to grow again.
        session = model.watch(clip);
        session.ask("What moves?");
        before = session.mark();
        length = session.length();
      });
}

TEST_CASE("A failed allocation while a checkpoint is quantized", "[failing_allocation]") {
  const ModelDirectory model;
  const test::TempDirectory temp;
  LoadOptions options;
  options.quantize = QuantizeOptions::of(WeightFormat::int4);
  const std::string out = temp / "new" / "quantized";
  const fs::path weights = fs::path(out) / "model.safetensors";
  const auto write = [&] { write_quantized_checkpoint(out, model.path(), options); };
  write();
  const std::string whole = test::read_file(weights);
  const std::set<std::string> files = names_in(out);
  fs::remove_all(temp / "new");
  test::with_failures(
      [&] {
        ::rename(out.c_str(), (out + ".old").c_str());
        write();
      },
      [&](bool succeeded, Failing which) {
        REQUIRE(fs::exists(out) >= succeeded);
        if (fs::exists(out)) {
          REQUIRE(names_in(out) == files);
          REQUIRE(test::read_file(weights) == whole);
        } else if (which == Failing::one) {
          REQUIRE(names_in(temp.path()).empty());
        }
        fs::remove_all(temp / "new");
      });
}

TEST_CASE("A failed allocation while a file is replaced", "[failing_allocation]") {
  const test::TempDirectory temp;
  const fs::path path = temp / "a.safetensors";
  const std::vector<NamedTensor> old = {test::floats("x", {2}, {1, 2})};
  const std::vector<NamedTensor> now = {test::floats("x", {3}, {3, 4, 5})};
  write_safetensors(path, now);
  const std::string now_bytes = test::read_file(path);
  write_safetensors(path, old);
  const std::string old_bytes = test::read_file(path);
  test::with_failures([&] { write_safetensors(path, now); },
                      [&](bool succeeded, Failing) {
                        const std::string bytes = test::read_file(path);
                        REQUIRE((bytes == now_bytes || (!succeeded && bytes == old_bytes)));
                        REQUIRE(names_in(temp.path()).size() == 1);
                        write_safetensors(path, old);
                      });
}

TEST_CASE("A failed allocation while a random checkpoint is written", "[failing_allocation]") {
  const test::TempDirectory temp;
  test::with_failures(
      [&] { write_random_checkpoint(temp / "model", ModelConfig::preset("tiny")); },
      [&](bool succeeded, Failing) {
        for (const std::string& name : succeeded ? std::set<std::string>{} : names_in(temp.path()))
          REQUIRE(name == "model");
        if (succeeded) CHECK(names_in(temp / "model").size() == 4);
        fs::remove_all(temp / "model");
      });
}

TEST_CASE("A failed allocation in calibration", "[failing_allocation]") {
  const ModelDirectory model;
  const ModelFiles files = ModelFiles::open(model.path());
  const std::vector<Clip> clips = {test::moving_clip(2)};
  CalibrationOptions options;
  options.backend.threads = 2;
  options.max_new_tokens = 2;
  options.min_rows = 2;
  const ModelConfig& config = files.checkpoint.config();
  const std::string name = "language_model.model.layers.0.mlp.down_proj.weight";
  const TensorSpec& spec = *files.checkpoint.tensors().find(name);
  std::optional<HostTensor> matrix;
  std::vector<std::byte> expected;
  test::with_failures(
      [&] {
        matrix.reset();
        Calibration calibration(files.checkpoint[""], files.checkpoint.tensors(),
                                QuantizeOptions::of(WeightFormat::int4), options);
        calibration.add(config, clips, files.tokenizer, files.preprocess);
        matrix = calibration.quantized_weights().tensor(spec);
      },
      [&](bool succeeded, Failing) {
        REQUIRE(matrix.has_value() == succeeded);
        if (!succeeded) return;
        REQUIRE(matrix->dtype == DType::u8);
        const std::vector<std::byte> bytes(
            matrix->data,
            matrix->data + spec.shape[0] * stored_row_bytes(matrix->quantization, spec.shape[1]));
        if (expected.empty()) expected = bytes;
        CHECK(bytes == expected);
      },
      40);
}

TEST_CASE("A failed allocation in a task or the construction of a pool", "[failing_allocation]") {
  std::optional<ThreadPool> pool;
  test::with_failures(
      [&] {
        pool.reset();
        pool.emplace(4);
      },
      [&](bool succeeded, Failing) { REQUIRE(pool.has_value() == succeeded); });
  pool.emplace(4);
  std::atomic<Index> sum{0};
  test::with_failures(
      [&] {
        sum = 0;
        pool->run(100, [&](Index i) { sum += *std::make_unique<Index>(i); });
      },
      [&](bool succeeded, Failing) { REQUIRE((sum == 4950) == succeeded); });
}

}  // namespace
