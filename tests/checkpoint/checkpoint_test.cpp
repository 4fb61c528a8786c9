// Checkpoints: every naming, LoRA, shards, and the errors that list what is wrong.
#include "pllava/checkpoint/checkpoint.hpp"

#include "pllava/checkpoint/random_checkpoint.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/weights/lora.hpp"
#include "pllava/weights/random_weights.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"

using namespace pllava;

namespace {

const std::string kQuery = "language_model.model.layers.0.self_attn.q_proj.weight";

/// A tiny model's directory; `edit` may change its tensors before they are written.
struct TinyDirectory : test::TempDirectory {
  template <class F>
  explicit TinyDirectory(F&& edit) {
    const ModelConfig config = ModelConfig::preset("tiny");
    write_random_checkpoint(path(), config, 3, DType::f32);
    const RandomWeights weights(3);
    for (const TensorSpec& s : model_tensors(config))
      if (s.presence == Presence::required) tensors.push_back({s.name, weights.tensor(s)});
    edit(tensors);
    write_safetensors(path() / "model.safetensors", tensors);
  }
  std::vector<NamedTensor> tensors;
};

std::string open_error(const std::filesystem::path& path, const LoadOptions& options = {}) {
  return test::message_of<LoadError>([&] { Checkpoint::open(path, options); });
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.starts_with(from) ? to + text.substr(from.size()) : text;
}

HostTensor query(const Checkpoint& c) {
  return c["language_model"]["model"]["layers"][0]["self_attn"]["q_proj"].tensor("weight",
                                                                                 {64, 64});
}

std::vector<NamedTensor> adapter() {
  std::vector<float> a(2 * 64), b(64 * 2);
  for (std::size_t i = 0; i < 128; ++i) {
    a[i] = float(i % 7) * 0.25f;
    b[i] = float(i % 5) * 0.5f;
  }
  const std::string stem = "language_model.base_model.model.model.layers.0.self_attn.q_proj.";
  return {test::floats(stem + "lora_A.default.weight", {2, 64}, a),
          test::floats(stem + "lora_B.default.weight", {64, 2}, b)};
}

}  // namespace

TEST_CASE("Every naming scheme gives the same weights", "[checkpoint]") {
  const RandomWeights weights(3);
  const HostTensor expected = weights.tensor(kQuery, {64, 64});
  for (const int naming : {0, 1, 2}) {
    const TinyDirectory dir([&](std::vector<NamedTensor>& tensors) {
      for (NamedTensor& t : tensors) {
        if (naming == 1)
          t.name = replaced(t.name, "language_model.", "language_model.base_model.model.");
        if (naming == 2) {
          t.name = replaced(t.name, "language_model.lm_head", "lm_head");
          t.name = replaced(t.name, "language_model.model.", "model.language_model.");
          t.name = replaced(t.name, "vision_tower", "model.vision_tower");
          t.name = replaced(t.name, "multi_modal_projector", "model.multi_modal_projector");
        }
      }
    });
    const auto checkpoint = Checkpoint::open(dir.path());
    CHECK(checkpoint.report().clean());
    CHECK(load_float(query(checkpoint).data, DType::f32, 99) ==
          load_float(expected.data, DType::f32, 99));
  }
}

TEST_CASE("An adapter over a base directory equals a merge in naive loops", "[checkpoint]") {
  const TinyDirectory base([](auto&) {});
  const test::TempDirectory dir;
  const auto lora = adapter();
  write_safetensors(dir.path() / "model.safetensors", lora);
  const auto checkpoint = Checkpoint::open(dir.path(), {.lora_alpha = 4, .base = base.path()});
  CHECK(checkpoint.report().lora_rank == 2);
  CHECK(test::contains(checkpoint.report().str(), "alpha 4"));
  const HostTensor merged = query(checkpoint);
  const HostTensor plain = query(Checkpoint::open(base.path()));
  const auto at = [](const HostTensor& t, Index i) { return load_float(t.data, t.dtype, i); };
  for (Index o = 0; o < 64; ++o)
    for (Index i = 0; i < 64; ++i) {
      float y = at(plain, o * 64 + i);
      for (Index r = 0; r < 2; ++r)
        y += 2.0f * at(lora[1].tensor, o * 2 + r) * at(lora[0].tensor, r * 64 + i);
      CHECK(at(merged, o * 64 + i) == Approx(y).margin(1e-5));
    }
  const auto none = Checkpoint::open(dir.path(), {.lora_alpha = 0, .base = base.path()});
  CHECK(at(query(none), 5) == at(plain, 5));
  CHECK_THROWS_AS(merge_lora(plain, lora[1].tensor, lora[0].tensor, 1.0f), ShapeError);
  CHECK(test::contains(open_error(dir.path()), "config.json"));
}

TEST_CASE("One error lists every missing, misshapen, wrongly typed and unused tensor",
          "[checkpoint]") {
  const TinyDirectory dir([](std::vector<NamedTensor>& tensors) {
    for (NamedTensor& t : tensors) {
      if (t.name == kQuery) t.name = "stray.weight";
      if (t.name == "language_model.model.norm.weight") t = test::floats(t.name, {63}, {});
      if (t.name == "multi_modal_projector.linear_1.bias") t.tensor.dtype = DType::i32;
    }
    tensors.push_back(test::floats("image_newline", {64}, {}));  // known, so no complaint
  });
  const std::string message = open_error(dir.path());
  CHECK(test::contains(message, "missing: " + kQuery));
  CHECK(test::contains(message, "norm.weight: expected (64), got (63)"));
  CHECK(test::contains(message, "linear_1.bias: expected F32, F16 or BF16, got I32"));
  CHECK(test::contains(message, "unused: stray.weight"));
  CHECK_FALSE(test::contains(message, "image_newline"));
  const auto loose = Checkpoint::open(dir.path(), {.strict = false});
  CHECK(loose.report().missing.size() == 1);
  CHECK(loose.report().warnings() ==
        std::vector<std::string>{
            "1 tensor is missing: " + kQuery,
            "1 tensor is misshapen: language_model.model.norm.weight: expected (64), got (63)",
            "1 tensor is of the wrong dtype: multi_modal_projector.linear_1.bias: expected F32, "
            "F16 or BF16, got I32",
            "1 tensor is unused: stray.weight"});
  CHECK_THROWS_AS(query(loose), LoadError);
}

TEST_CASE("A shard index is followed, but not outside the directory", "[checkpoint]") {
  const TinyDirectory dir([](auto&) {});
  const auto index = dir.path() / "model.safetensors.index.json";
  const auto point_to = [&](const std::string& tensor, const std::string& file) {
    test::write_file(index, R"({"weight_map":{")" + tensor + R"(":")" + file + R"("}})");
    return open_error(dir.path());
  };
  CHECK(point_to(kQuery, "model.safetensors").empty());
  CHECK(test::contains(point_to(kQuery, "../model.safetensors"), "outside the directory"));
  CHECK(test::contains(point_to(kQuery, "/etc/passwd"), "outside the directory"));
  CHECK(test::contains(point_to(kQuery, "gone.safetensors"),
                       "incomplete: 1 of 1 shards are missing (gone.safetensors)"));
  CHECK(test::contains(point_to("nothing", "model.safetensors"), "lacks"));
  std::filesystem::remove(index);
  std::filesystem::rename(dir.path() / "model.safetensors",
                          dir.path() / "model-00001-of-00001.safetensors");
  CHECK(open_error(dir.path()).empty());
}

TEST_CASE("Options override the configuration and are checked", "[checkpoint]") {
  const TinyDirectory dir([](auto&) {});
  const auto c = Checkpoint::open(dir.path(), {.frames = 4, .pool = Grid{4, 1, 1}});
  CHECK(c.config().frames == 4);
  CHECK(c.config().pool.output == Grid{4, 1, 1});
  CHECK_THROWS_AS(Checkpoint::open(dir.path(), {.lora_alpha = -1}), ArgumentError);
  CHECK_THROWS_AS(Checkpoint::open(dir.path(), {.frames = 0}), ArgumentError);
}

TEST_CASE("The checkpoints of every published layout open strictly", "[checkpoint]") {
  const std::filesystem::path data = std::filesystem::path(PLLAVA_TEST_DATA) / "model";
  for (const char* name : {"plain_f32", "odd_heads", "newer_names", "peft_sharded"}) {
    INFO(name);
    // Their goldens lie beside them under names that no checkpoint has.
    const auto checkpoint = Checkpoint::open(data / name);
    CHECK(checkpoint.report().clean());
    CHECK((checkpoint.report().lora_layers > 0) == (std::string(name) == "peft_sharded"));
  }
  CHECK(Checkpoint::open(data / "adapter", {.base = data / "adapter_base"}).report().clean());
  CHECK(test::contains(open_error(data / "adapter"), "missing: "));
}

TEST_CASE("A PEFT-wrapped weight in shards is merged with its factors", "[checkpoint]") {
  const auto directory = std::filesystem::path(PLLAVA_TEST_DATA) / "model" / "peft_sharded";
  const auto raw = [&](const std::string& name) {
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      if (!entry.path().filename().string().starts_with("model-0")) continue;
      const auto file = SafetensorsFile::open(entry.path());
      if (file.find(name) != nullptr) return file.tensor(name);
    }
    FAIL("no tensor " + name);
    return HostTensor{};
  };
  const auto at = [](const HostTensor& t, Index i) { return load_float(t.data, t.dtype, i); };
  const auto checkpoint = Checkpoint::open(directory, {.lora_alpha = 32});
  CHECK(checkpoint.report().lora_alpha == 32);
  for (const std::string module : {"0.self_attn.q_proj", "1.self_attn.v_proj"}) {
    INFO(module);
    const std::string stem = "language_model.base_model.model.model.layers." + module;
    const HostTensor base = raw(stem + ".base_layer.weight");
    const HostTensor a = raw(stem + ".lora_A.default.weight");
    const HostTensor b = raw(stem + ".lora_B.default.weight");
    const Index out = base.shape[0], in = base.shape[1], rank = a.shape[0];
    const HostTensor merged =
        checkpoint["language_model"]["model"]["layers"].tensor(module + ".weight", {out, in});
    double worst = 0;
    for (Index o = 0; o < out; ++o)
      for (Index i = 0; i < in; ++i) {
        double y = at(base, o * in + i);
        for (Index r = 0; r < rank; ++r)
          y += 32.0 / static_cast<double>(rank) * at(b, o * rank + r) * at(a, r * in + i);
        worst = std::max(worst, std::abs(y - at(merged, o * in + i)));
      }
    CHECK(worst < 1e-5);
  }
}

TEST_CASE("A lone LoRA factor, misshapen factors and a duplicate weight are refused",
          "[checkpoint]") {
  const auto error_with = [](const std::vector<NamedTensor>& more) {
    const TinyDirectory dir(
        [&](auto& tensors) { tensors.insert(tensors.end(), more.begin(), more.end()); });
    return open_error(dir.path());
  };
  const auto lora = adapter();
  CHECK(error_with(lora).empty());
  CHECK(test::contains(error_with({lora[0]}), kQuery + " (lora_B)"));
  CHECK(test::contains(error_with({lora[1]}), kQuery + " (lora_A)"));
  CHECK(test::contains(error_with({lora[0], test::floats(lora[1].name, {63, 2}, {})}),
                       "lora_B.default.weight: expected (64, 2), got (63, 2)"));
  const std::string twice = error_with({test::floats(
      "language_model.base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight", {64, 64},
      {})});
  CHECK(test::contains(twice, "two tensors have the same canonical name"));
  CHECK(test::contains(twice, kQuery));
}

TEST_CASE("A truncated shard is refused by name before tensor data are read", "[checkpoint]") {
  const TinyDirectory dir([](auto&) {});
  const auto path = dir.path() / "model.safetensors";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  const std::string message = open_error(dir.path());
  CHECK(test::contains(message, path.string()));
  CHECK(test::contains(message, "truncated"));
  std::filesystem::remove(path);
  CHECK(test::contains(open_error(dir.path()), "cannot be opened"));
}
