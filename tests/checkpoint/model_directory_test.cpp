// Incomplete and unusual directories: each is refused in one line before weights are read, or read.
#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/checkpoint/quantized_checkpoint.hpp"
#include "pllava/checkpoint/random_checkpoint.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/pipeline.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"

using namespace pllava;
using nlohmann::json;
using test::contains;
namespace fs = std::filesystem;

namespace {

const fs::path kPeft = PLLAVA_TEST_DATA "/peft";
constexpr const char* kLfs =
    "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9876543210\n";

/// A tiny model with a tokenizer, complete.
struct TinyModel : test::TempDirectory {
  TinyModel() {
    const Tokenizer tokenizer = Tokenizer::from_file(kTokenizer);
    ModelConfig config = ModelConfig::preset("tiny");
    config.image_token = *tokenizer.id_of("<image>");
    config.text.vocab = std::max(config.text.vocab, tokenizer.size());
    write_random_checkpoint(path(), config, 3);
    fs::copy_file(kTokenizer, path() / "tokenizer.json");
  }
  const fs::path kTokenizer = PLLAVA_TEST_DATA "/tokenizer/tokenizer.json";
};

std::string open_error(const fs::path& path, const LoadOptions& options = {}) {
  return test::message_of<LoadError>([&] { Checkpoint::open(path, options); });
}
std::string load_error(const fs::path& path, const LoadOptions& options = {}) {
  return test::message_of<LoadError>([&] { ModelFiles::open(path, options); });
}

/// Checkpoint::open, which inspect calls, and ModelFiles::open refuse `path` with `parts` in one
/// line.
void check_refused(const fs::path& path, const std::vector<std::string>& parts) {
  for (const std::string& message : {open_error(path), load_error(path)}) {
    INFO(message);
    CHECK(std::ranges::count(message, '\n') == 0);
    for (const std::string& part : parts) {
      INFO(part);
      CHECK(contains(message, part));
    }
  }
}

void edit_config(const fs::path& path, const std::string& key, const json& value) {
  json config = json::parse(test::read_file(path / "config.json"));
  config[key] = value;
  test::write_file(path / "config.json", config.dump());
}

}  // namespace

TEST_CASE("A Git LFS pointer or an HTML page in the place of a file is named",
          "[model_directory]") {
  const TinyModel model;
  REQUIRE(load_error(model.path()) == "");
  for (const char* name : {"config.json", "generation_config.json", "preprocessor_config.json",
                           "tokenizer.json", "model.safetensors", "model.safetensors.index.json"}) {
    INFO(name);
    const bool is_new = !fs::exists(model / name);
    const std::string before = test::read_file(model / name);
    test::write_file(model / name, kLfs);
    check_refused(model.path(),
                  {(model / name).string() + ": is a Git LFS pointer; \"git lfs pull\" fetches"});
    test::write_file(model / name, "\xef\xbb\xbf\n<!DOCTYPE html><html>");
    check_refused(model.path(), {(model / name).string() + ": is an HTML page"});
    test::write_file(model / name, before);
    if (is_new) fs::remove(model / name);
  }
  CHECK(load_error(model.path()) == "");
  // files of other names are not looked at
  test::write_file(model / "trainer_state.json", kLfs);
  CHECK(load_error(model.path()) == "");

  // the readers of single files say the same
  const fs::path file = model.write("file", kLfs);
  CHECK(contains(test::message_of<LoadError>([&] { SafetensorsFile::open(file); }), "Git LFS"));
  CHECK(contains(test::message_of<LoadError>([&] { Tokenizer::from_file(file); }), "Git LFS"));
}

TEST_CASE("Pickle files and consolidated weights are named", "[model_directory]") {
  for (const std::string name : {"pytorch_model.bin", "pytorch_model-00001-of-00002.bin",
                                 "model.pt", "weights.pth", "consolidated.00.pth"}) {
    const TinyModel model;
    fs::rename(model / "model.safetensors", model / name);
    check_refused(model.path(), {model.path().string(), "pickle files are not read (" + name + ")",
                                 "save_pretrained", "safe_serialization"});
    fs::copy_file(model / name, model / "model.safetensors");
    CHECK(load_error(model.path()) == "");
  }
  const TinyModel model;
  fs::rename(model / "model.safetensors", model / "optimizer.pt");
  check_refused(model.path(), {"model.safetensors: cannot be opened"});
  fs::rename(model / "optimizer.pt", model / "consolidated.safetensors");
  check_refused(model.path(), {"consolidated weights are not read (consolidated.safetensors)"});
  // without config.json, as in the directories of the original LLaMA
  fs::remove(model / "config.json");
  fs::rename(model / "consolidated.safetensors", model / "consolidated.00.pth");
  check_refused(model.path(), {"pickle files are not read"});
}

TEST_CASE("A model of the original LLaVA repository is named", "[model_directory]") {
  for (const char* type : {"llava_llama", "llava_mistral"}) {
    const TinyModel model;
    edit_config(model.path(), "model_type", type);
    fs::remove(model / "tokenizer.json");
    check_refused(model.path(), {"config.json: is a model in the format of the original LLaVA",
                                 "(model_type)", "llava-hf"});
  }
  const TinyModel model;
  edit_config(model.path(), "mm_vision_tower", "openai/clip-vit-large-patch14-336");
  CHECK(load_error(model.path()) == "");
  json config = json::parse(test::read_file(model / "config.json"));
  config.erase("vision_config");
  test::write_file(model / "config.json", config.dump());
  check_refused(model.path(), {"original LLaVA", "(mm_vision_tower)", "llava-hf"});
}

TEST_CASE("An adapter without its base names the base and the option", "[model_directory]") {
  check_refused(kPeft / "plain", {(kPeft / "plain").string() + ": is an adapter without its base",
                                  "--base", "\"example/base\""});
  const test::TempDirectory dir;
  dir.write("adapter_config.json", R"({"base_model_name_or_path": "a\nb"})");
  check_refused(dir.path(), {R"("a\nb")"});
  dir.write("adapter_config.json", "{}");
  check_refused(dir.path(), {"is an adapter without its base"});
  dir.write("adapter_model.bin", "x");
  check_refused(dir.path(), {"pickle files are not read (adapter_model.bin)"});
  LoadOptions over;
  over.base = kPeft / "plain";
  CHECK(contains(open_error(kPeft / "patterns", over), "is an adapter without its base"));
}

TEST_CASE("A model beside an adapter is refused, and a config left by a merge is not read",
          "[model_directory]") {
  const TinyModel model;
  model.write("adapter_config.json", R"({"use_dora": true})");
  CHECK(load_error(model.path()) == "");
  fs::copy_file(kPeft / "plain" / "adapter_model.safetensors", model / "adapter_model.safetensors");
  check_refused(model.path(), {model.path().string() + ": holds the weights of a model and an"});
}

TEST_CASE("Named pipes are not waited for", "[model_directory]") {
  const TinyModel model;
  fs::remove(model / "generation_config.json");
  REQUIRE(::mkfifo((model / "generation_config.json").c_str(), 0600) == 0);
  check_refused(model.path(), {"generation_config.json", "expected a regular file"});
}

TEST_CASE("An adapter reads the tokenizer and the pixels' constants of its base",
          "[model_directory]") {
  const TinyModel base;
  const test::TempDirectory adapter;
  adapter.write("adapter_config.json", R"({"r": 2, "lora_alpha": 2})");
  const std::string stem = "base_model.model.model.language_model.layers.0.self_attn.q_proj.";
  const std::vector<NamedTensor> factors = {
      test::floats(stem + "lora_A.weight", {2, 64}, std::vector<float>(128, 1.0f)),
      test::floats(stem + "lora_B.weight", {64, 2}, std::vector<float>(128, 0.5f))};
  write_safetensors(adapter / "adapter_model.safetensors", factors);
  LoadOptions options;
  options.base = base.path();
  const ModelFiles files = ModelFiles::open(adapter.path(), options);
  CHECK(files.preprocess.image_size == files.checkpoint.config().vision.image_size);
  CHECK(files.checkpoint.report().notes.empty());
  CHECK(files.checkpoint.report().lora_layers == 1);
  CHECK(Pipeline::load(adapter.path(), options).warnings().empty());
  options.quantize = QuantizeOptions::of(WeightFormat::int8);
  write_quantized_checkpoint(adapter / "merged", adapter.path(), options);
  CHECK(load_error(adapter / "merged") == "");
}

TEST_CASE("The top directory of a model in a hub cache stands for its snapshot",
          "[model_directory]") {
  const TinyModel model;
  const test::TempDirectory cache;
  const fs::path top = cache / "models--org--name";
  const fs::path one = top / "snapshots" / "0123abc", two = top / "snapshots" / "4567def";
  fs::create_directories(one);
  fs::create_directories(top / "blobs");
  fs::create_directories(top / "refs");
  for (const auto& entry : fs::directory_iterator(model.path())) {
    const fs::path name = entry.path().filename();
    fs::copy_file(entry.path(), top / "blobs" / name);
    fs::create_symlink(fs::path("../../blobs") / name, one / name);
  }
  CHECK(model_directory(one) == one);
  CHECK(model_directory(top) == one);
  CHECK(load_error(top) == "");
  LoadOptions over;
  over.base = top;
  CHECK(Checkpoint::open(one, over).report().clean());
  fs::create_directories(two);
  check_refused(top, {top.string() + ": is a cache of the hub client", "0123abc, 4567def"});
  test::write_file(top / "refs" / "main", "0123abc\n");
  CHECK(model_directory(top) == one);
  test::write_file(top / "refs" / "main", "../snapshots/0123abc");
  check_refused(top, {"is a cache of the hub client"});
  fs::remove_all(top / "snapshots");
  fs::create_directories(top / "snapshots");
  check_refused(top, {"is a cache of the hub client", "got none"});
}

TEST_CASE("Missing shards are counted and named", "[model_directory]") {
  const fs::path from = PLLAVA_TEST_DATA "/model/peft_sharded";
  const test::TempDirectory dir;
  for (const auto& entry : fs::directory_iterator(from))
    fs::copy_file(entry.path(), dir / entry.path().filename().string());
  REQUIRE(open_error(dir.path()) == "");
  const std::string second = "model-00002-of-00003.safetensors",
                    third = "model-00003-of-00003.safetensors";
  fs::remove(dir / second);
  fs::create_symlink("gone", dir / second);  // a link of a cache whose file was not downloaded
  for (const bool has_index : {true, false}) {
    INFO("with an index: " << has_index);
    if (!has_index) fs::remove(dir / "model.safetensors.index.json");
    CHECK(contains(open_error(dir.path()),
                   "the download is incomplete: 1 of 3 shards are missing (" + second + ")"));
  }
  fs::remove(dir / third);
  CHECK(contains(open_error(dir.path()), "2 of 3 shards are missing (" + second + ", " + third));
}

TEST_CASE("Without preprocessor_config.json the size is that of the vision tower",
          "[model_directory]") {
  const TinyModel model;
  fs::remove(model / "preprocessor_config.json");
  const ModelFiles files = ModelFiles::open(model.path());
  const Index side = files.checkpoint.config().vision.image_size;
  CHECK(side != PreprocessConfig().image_size);
  CHECK(files.preprocess.image_size == side);
  CHECK(files.preprocess.image_mean == PreprocessConfig().image_mean);
  const LoadReport& report = files.checkpoint.report();
  CHECK(report.clean());
  REQUIRE(report.notes.size() == 1);
  CHECK(contains(report.notes[0], "there is no preprocessor_config.json"));
  CHECK(contains(report.notes[0], "the " + std::to_string(side) + " pixels"));
  CHECK(contains(report.str(), report.notes[0]));
  CHECK(Pipeline::load(model.path()).warnings() == report.notes);

  // the form of transformers 5
  model.write("processor_config.json", R"({"image_processor": {"size": {"shortest_edge": )" +
                                           std::to_string(side) + R"(}, "crop_size": )" +
                                           std::to_string(side) +
                                           R"(, "image_mean": [0.5, 0.5, 0.5]}})");
  const ModelFiles with = ModelFiles::open(model.path());
  CHECK(with.preprocess.image_mean == std::array<float, 3>{0.5f, 0.5f, 0.5f});
  CHECK(with.checkpoint.report().notes.empty());
  model.write("processor_config.json", R"({"image_processor": {"resample": 2}})");
  CHECK(contains(load_error(model.path()), "image_processor.resample"));
  model.write("processor_config.json", R"({"patch_size": 14})");  // the older form
  CHECK(ModelFiles::open(model.path()).checkpoint.report().notes.size() == 1);
}

TEST_CASE("vision_feature_layer may be a list of one layer", "[model_directory]") {
  const TinyModel model;
  edit_config(model.path(), "vision_feature_layer", json::array({-3}));
  CHECK(read_model_config(model.path()).vision.feature_layer == -3);
  edit_config(model.path(), "vision_feature_layer", json::array({-2, -3}));
  check_refused(model.path(), {"(vision_feature_layer)", "one layer", "[-2,-3]"});
  edit_config(model.path(), "vision_feature_layer", json::array());
  check_refused(model.path(), {"(vision_feature_layer)", "one layer"});
  edit_config(model.path(), "vision_feature_layer", json::array({"x"}));
  check_refused(model.path(), {"(vision_feature_layer)", "an integer"});
}

TEST_CASE("A path that is no directory is refused", "[model_directory]") {
  const test::TempDirectory dir;
  check_refused(dir / "absent", {"absent: no such directory"});
  check_refused(dir.write("file", "x"), {"file: is not a directory"});
  CHECK(contains(open_error(dir.path()), "config.json"));
}
