// GGUF files as models, against the safetensors checkpoints that they were made from, other
// tokenizers and gguf's own dequantization (tests/data/make_gguf_model_goldens.py).
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/models/text_architecture.hpp"
#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/gguf_draft.hpp"
#include "support/goldens.hpp"
#include "support/message_of.hpp"
#include "support/temp_directory.hpp"

namespace {

using namespace pllava;
using test::GgufDraft;

const std::filesystem::path kData = PLLAVA_TEST_DATA;
const std::filesystem::path kGguf = kData / "gguf_model";

LoadOptions text_alone() {
  return {.architectures = text_architectures()};
}

LoadOptions with_vision(const char* vision = "vision.gguf") {
  LoadOptions options;
  options.mmproj = kGguf / vision;
  options.frames = 4;
  options.pool = Grid{4, 2, 2};
  return options;
}

bool same_values(const HostTensor& a, const HostTensor& b) {
  if (a.shape != b.shape) return false;
  for (Index i = 0; i < a.shape.count(); ++i)
    if (load_float(a.data, a.dtype, i) != load_float(b.data, b.dtype, i)) return false;
  return true;
}

/// All tensors that the model reads have the values of `expected`.
void check_tensors(const Checkpoint& checkpoint, const Checkpoint& expected) {
  CHECK(checkpoint.report().clean());
  CHECK(checkpoint.report().tensors == checkpoint.tensors().required());
  for (const TensorSpec& spec : checkpoint.tensors()) {
    if (spec.presence != Presence::required) continue;
    INFO(spec.name);
    CHECK(same_values(checkpoint[""].tensor(spec), expected[""].tensor(spec)));
  }
}

/// The logits after a prompt, on the CPU in f32.
std::vector<float> logits_of(const Checkpoint& checkpoint, const std::vector<std::int32_t>& ids) {
  cpu::Backend be({.dtype = DType::f32, .threads = 2});
  const LanguageModel<cpu::Backend> model(be, checkpoint.config().text,
                                          checkpoint["language_model"]);
  auto kv = model.make_cache(be, model.config().context);
  Tensor<cpu::Backend> logits(be, {1, model.config().vocab}, DType::f32);
  model.forward(be, model.embed(be, ids), kv, logits);
  return detail::to_floats(be, logits);
}

TEST_CASE("A LLaVA model in two GGUF files equals its safetensors", "[gguf]") {
  const Checkpoint expected = Checkpoint::open(kData / "model" / "plain_f32");
  for (const char* vision : {"vision.gguf", "vision_older.gguf"}) {
    INFO(vision);
    const Checkpoint checkpoint = Checkpoint::open(kGguf / "llama.gguf", with_vision(vision));
    check_tensors(checkpoint, expected);
    const ModelConfig &a = checkpoint.config(), &b = expected.config();
    CHECK(a.model_type == "llava");
    CHECK(a.vision.used_layers() == b.vision.used_layers());
    CHECK(a.vision.image_size == b.vision.image_size);
    CHECK(a.vision.norm_eps == b.vision.norm_eps);
    CHECK(a.vision.activation == b.vision.activation);
    CHECK(a.text.norm_eps == b.text.norm_eps);
    CHECK(a.text.context == b.text.context);
    CHECK(a.eos_tokens == b.eos_tokens);
    CHECK(a.bos_token == b.bos_token);
    CHECK(a.image_token == a.text.vocab);
    const LoadReport& report = checkpoint.report();
    CHECK(report.files ==
          std::vector<std::string>{(kGguf / "llama.gguf").string(), (kGguf / vision).string()});
    CHECK(report.dtypes.size() == 1);
    CHECK(report.parameters == expected.report().parameters);
    CHECK(report.bytes == expected.report().bytes);
    CHECK(report.dtype() == DType::f32);
  }
  const Checkpoint whole = Checkpoint::open(kGguf / "llama.gguf", with_vision());
  CHECK(whole.report().ignored == 18);  // a layer and post_layernorm
  CHECK(whole.chat_template() == "{{ messages }}");
}

TEST_CASE("A GGUF pipeline answers as one of safetensors does", "[gguf]") {
  const LoadOptions options = with_vision();
  const Pipeline gguf = Pipeline::load(kGguf / "llama.gguf", options, {.threads = 2});
  const Checkpoint checkpoint = Checkpoint::open(kData / "model" / "plain_f32");
  ModelConfig config = checkpoint.config();
  config.image_token = gguf.config().image_token;  // outside of the vocabulary
  CHECK(gguf.config().conversation_template == "llava");
  config.conversation_template = "llava";  // the directory is of a PLLaVA model
  const PreprocessConfig preprocess =
      PreprocessConfig::from_directory(kData / "model" / "plain_f32");
  CHECK(gguf.preprocess_config().image_size == preprocess.image_size);
  CHECK(gguf.preprocess_config().image_mean == preprocess.image_mean);
  CHECK(gguf.preprocess_config().image_std == preprocess.image_std);
  const Pipeline expected(cpu::Backend({.dtype = DType::f32, .threads = 2}), config, checkpoint[""],
                          gguf.tokenizer(), preprocess);
  std::vector<std::uint8_t> pixels(28 * 28 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37);
  Clip clip;
  clip.frames.push_back(Frame::own(pixels, 28, 28));
  const auto answer = [&](const Pipeline& pipeline) {
    return pipeline.watch(clip).ask("the cat in the hat", {.max_new_tokens = 12}).output_ids;
  };
  CHECK(answer(gguf) == answer(expected));
}

TEST_CASE("LLaMA 3 and Qwen2 in GGUF files equal transformers", "[gguf]") {
  for (const std::string name : {"llama3", "qwen2"}) {
    INFO(name);
    const std::filesystem::path directory = kData / "decoder" / name;
    const Checkpoint checkpoint = Checkpoint::open(kGguf / (name + ".gguf"), text_alone());
    check_tensors(checkpoint, Checkpoint::open(directory, text_alone()));
    CHECK(checkpoint.report().dtype() == DType::bf16);
    const SafetensorsFile golden = SafetensorsFile::open(directory / "golden.safetensors");
    CHECK(test::relative_distance(logits_of(checkpoint, test::golden_ids(golden, "prompt_ids")),
                                  test::golden_floats(golden, "logits")) < 1e-4);
  }
  const TextConfig qwen2 = Checkpoint::open(kGguf / "qwen2.gguf", text_alone()).config().text;
  CHECK(qwen2.qkv_bias);
  CHECK(qwen2.tied_embeddings);
  const TextConfig llama3 = Checkpoint::open(kGguf / "llama3.gguf", text_alone()).config().text;
  CHECK(llama3.rope_factors.size() == 4);
  CHECK(llama3.rope_factors.back() == Approx(8));
}

TEST_CASE("Logits of a GGUF file equal those of its safetensors bit for bit", "[gguf]") {
  const std::vector<std::int32_t> ids = {1, 20, 31, 7, 44, 12};
  for (const bool has_bias : {false, true}) {
    const Checkpoint gguf =
        has_bias ? Checkpoint::open(kGguf / "qwen2.gguf", text_alone())
                 : Checkpoint::open(kGguf / "llama.gguf", with_vision("vision_older.gguf"));
    const Checkpoint expected = has_bias
                                    ? Checkpoint::open(kData / "decoder" / "qwen2", text_alone())
                                    : Checkpoint::open(kData / "model" / "plain_f32");
    CHECK(logits_of(gguf, ids) == logits_of(expected, ids));
  }
}

TEST_CASE("Quantized types have the values of gguf's dequantization", "[gguf]") {
  const Checkpoint checkpoint = Checkpoint::open(kGguf / "quantized.gguf", text_alone());
  const SafetensorsFile golden = SafetensorsFile::open(kGguf / "quantized.safetensors");
  for (const SafetensorsEntry& entry : golden.entries()) {
    const std::string name = "language_model." + entry.name;
    INFO(name);
    const TensorSpec* spec = checkpoint.tensors().find(name);
    REQUIRE(spec != nullptr);
    CHECK(same_values(checkpoint[""].tensor(*spec), golden.tensor(entry.name)));
  }
  const LoadReport& report = checkpoint.report();
  CHECK(report.dtype() == DType::bf16);
  Index counted = 0;
  for (const char* type : {"F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"}) {
    CHECK(report.dtypes.contains(type));
    counted += report.dtypes.at(type);
  }
  CHECK(counted == report.tensors);
  LoadOptions options = text_alone();
  options.quantize = QuantizeOptions::of(WeightFormat::int8);
  const Checkpoint int8 = Checkpoint::open(kGguf / "quantized.gguf", options);
  const std::string query = "language_model.model.layers.0.self_attn.q_proj.weight";
  CHECK(int8[""].tensor(*int8.tensors().find(query)).quantization.format == WeightFormat::int8);
}

TEST_CASE("Token ids of GGUF files equal those of other implementations", "[gguf]") {
  std::ifstream in(kGguf / "tokens.json");
  const auto cases = nlohmann::json::parse(in);
  for (const std::string name : {"llama", "qwen2"}) {
    const Tokenizer tokenizer = read_tokenizer(kGguf / (name + ".gguf"));
    for (const auto& row : cases[name]) {
      const auto text = row["text"].get<std::string>();
      INFO(name << ": " << text);
      CHECK(tokenizer.encode(text, {.bos = false}) == row["ids"].get<std::vector<std::int32_t>>());
    }
    CHECK_FALSE(tokenizer.id_of("<image>"));
  }
  const test::TempDirectory dir;
  for (const std::string pre : {"llama-bpe", "smollm", "gpt-2", "default"}) {
    GgufDraft draft(kGguf / "qwen2.gguf");
    draft.metadata["tokenizer.ggml.pre"] = pre;
    draft.metadata["tokenizer.ggml.bos_token_id"] = std::uint64_t{5};
    const Tokenizer tokenizer = read_tokenizer(dir.write("x.gguf", draft.bytes()));
    for (const auto& row : cases[pre == "default" ? "gpt-2" : pre]) {
      const auto text = row["text"].get<std::string>();
      INFO(pre << ": " << text);
      CHECK(tokenizer.encode(text, {.bos = false}) == row["ids"].get<std::vector<std::int32_t>>());
    }
    CHECK(tokenizer.bos_id().has_value() == (pre == "llama-bpe"));
    const auto notes = Checkpoint::open(dir / "x.gguf", text_alone()).report().notes;
    CHECK(notes.size() == (pre == "default"));
  }
  const Tokenizer spm = read_tokenizer(kGguf / "llama.gguf", with_vision());
  CHECK(spm.bos_id() == 1);
  CHECK(spm.id_of("<image>") == 150);
  CHECK(spm.encode("the<image>the") == std::vector<std::int32_t>{1, 5, 150, 5});
  CHECK(spm.is_special(2));
  CHECK_FALSE(spm.is_special(3));   // user-defined
  CHECK_FALSE(spm.has_token(149));  // unused
  CHECK(spm.decode(spm.encode("the cat, there")) == "the cat, there");
  const Tokenizer bpe = read_tokenizer(kGguf / "qwen2.gguf");
  CHECK_FALSE(bpe.bos_id());
  CHECK(bpe.decode(bpe.encode("it's in the hat")) == "it's in the hat");
}

// Hidden: requires llama.cpp's models/ggml-vocab-NAME.gguf with their .inp and .out, which are not
// part of this repository. Run with PLLAVA_GGML_VOCAB=<directory>.
TEST_CASE("Token ids of llama.cpp's vocabularies equal its own", "[.ggml-vocab]") {
  const char* directory = std::getenv("PLLAVA_GGML_VOCAB");
  if (directory == nullptr) FAIL("set PLLAVA_GGML_VOCAB to a directory of ggml-vocab-*.gguf");
  for (const char* name : {"llama-spm", "llama-bpe", "qwen2"}) {
    const std::string file = std::string(directory) + "/ggml-vocab-" + name + ".gguf";
    if (!std::filesystem::exists(file)) continue;
    const Tokenizer tokenizer = read_tokenizer(file);
    std::ifstream input(file + ".inp", std::ios::binary), output(file + ".out");
    const std::string texts{std::istreambuf_iterator<char>(input), {}};
    const std::string separator = "\n__ggml_vocab_test__\n";
    std::size_t compared = 0;
    for (std::size_t begin = 0; begin < texts.size(); ++compared) {
      const std::size_t end = std::min(texts.find(separator, begin), texts.size());
      std::string line;
      std::getline(output, line);
      std::istringstream numbers(line);
      const std::vector<std::int32_t> ids{std::istream_iterator<std::int32_t>(numbers), {}};
      INFO(name << ": " << texts.substr(begin, end - begin));
      CHECK(tokenizer.encode(texts.substr(begin, end - begin), {.bos = false}) == ids);
      begin = end + separator.size();
    }
    CHECK(compared > 40);
    WARN(name << ": " << compared << " texts compared");
  }
}

TEST_CASE("Packed weights of GGUF files are written again after a change", "[gguf]") {
  const test::TempDirectory dir;
  for (const char* name : {"llama.gguf", "vision.gguf"})
    std::filesystem::copy_file(kGguf / name, dir / name);
  LoadOptions options = with_vision();
  options.mmproj = dir / "vision.gguf";
  options.cache = dir / "packed";
  const auto load = [&] { Pipeline::load(dir / "llama.gguf", options, {.threads = 1}); };
  const auto is_written_again = [&] {
    const Checkpoint checkpoint = Checkpoint::open(dir / "llama.gguf", options);
    return packed_weights(checkpoint, options, DType::f32)->writes();
  };
  CHECK(is_written_again());
  load();
  CHECK_FALSE(is_written_again());
  for (const char* name : {"vision.gguf", "llama.gguf"}) {
    GgufDraft draft(dir / name);
    draft.tensors.back().bytes[2] ^= 1;
    dir.write(name, draft.bytes());
    CHECK(is_written_again());
    load();
    CHECK_FALSE(is_written_again());
  }
}

/// The error of opening `text` with changes, as a video model.
std::string text_error(const std::function<void(GgufDraft&)>& edit, bool tokens = false) {
  GgufDraft draft(kGguf / "llama.gguf");
  edit(draft);
  const test::TempDirectory dir;
  const auto path = dir.write("x.gguf", draft.bytes());
  return test::message_of<LoadError>([&] {
    if (tokens)
      read_tokenizer(path, with_vision());
    else
      Checkpoint::open(path, with_vision());
  });
}

std::string vision_error(const std::function<void(GgufDraft&)>& edit) {
  GgufDraft draft(kGguf / "vision.gguf");
  edit(draft);
  const test::TempDirectory dir;
  LoadOptions options = with_vision();
  options.mmproj = dir.write("x.gguf", draft.bytes());
  return test::message_of<LoadError>([&] { Checkpoint::open(kGguf / "llama.gguf", options); });
}

void check_error(const std::string& error, const std::string& expected) {
  INFO(error);
  CHECK_FALSE(error.empty());
  CHECK(test::contains(error, expected));
}

TEST_CASE("Metadata of a language model that are not understood are refused by name", "[gguf]") {
  CHECK(text_error([](GgufDraft&) {}).empty());
  const std::pair<const char*, GgufValue> refused[] = {
      {"llama.rope.scaling.type", std::string("yarn")},
      {"llama.rope.scaling.type", std::uint64_t{1}},
      {"llama.rope.scaling.factor", 4.0},
      {"llama.rope.scale_linear", 2.0},
      {"llama.expert_count", std::uint64_t{8}},
      {"llama.attention.sliding_window", std::uint64_t{4096}},
      {"llama.attention.causal", false},
      {"llama.attention.key_length", std::uint64_t{15}},
      {"llama.attention.value_length", std::uint64_t{32}},
      {"llama.attention.scale", 0.5},
      {"llama.something.new", true},
      {"llama.rope.dimension_count", std::uint64_t{8}},
      {"llama.attention.head_count", std::vector<std::uint64_t>{3, 3}},
      {"llama.attention.head_count", std::uint64_t{5}},
      {"llama.attention.head_count_kv", std::uint64_t{2}},
      {"llama.block_count", std::uint64_t{1} << 60},
      {"llama.block_count", std::int64_t{-1}},
      {"llama.embedding_length", std::numeric_limits<std::uint64_t>::max()},
      {"llama.embedding_length", std::string("48")},
      {"llama.context_length", std::uint64_t{1} << 40},
      {"llama.attention.layer_norm_rms_epsilon", std::numeric_limits<double>::quiet_NaN()},
      {"llama.rope.freq_base", -1.0},
      {"llama.vocab_size", std::uint64_t{151}},
      {"split.count", std::uint64_t{3}},
      {"general.type", std::string("adapter")},
      {"general.architecture", std::string("gemma")},
      {"tokenizer.ggml.bos_token_id", std::uint64_t{150}},
      {"tokenizer.ggml.eos_token_id", std::uint64_t{1} << 40},
  };
  for (const auto& [key, value] : refused) {
    const auto* name = key;
    check_error(text_error([&, &v = value](GgufDraft& d) { d.metadata[name] = v; }), name);
  }
  for (const char* key : {"llama.block_count", "llama.context_length", "llama.embedding_length",
                          "llama.feed_forward_length", "llama.attention.head_count",
                          "llama.attention.layer_norm_rms_epsilon", "general.architecture"})
    check_error(text_error([&](GgufDraft& d) { d.metadata.erase(key); }), key);
  const auto accepted = [](const char* key, GgufValue value) {
    INFO(key);
    CHECK(text_error([&](GgufDraft& d) { d.metadata[key] = value; }).empty());
  };
  accepted("llama.rope.scaling.type", std::string("none"));
  accepted("llama.expert_count", std::uint64_t{0});
  accepted("llama.attention.key_length", std::uint64_t{16});
  accepted("general.tags", std::vector<std::string>{"a"});
}

TEST_CASE("Metadata of a GGUF tokenizer that are not understood are refused by name", "[gguf]") {
  CHECK(text_error([](GgufDraft&) {}, true).empty());
  const std::pair<const char*, GgufValue> refused[] = {
      {"tokenizer.ggml.model", std::string("bert")},
      {"tokenizer.ggml.add_eos_token", true},
      {"tokenizer.ggml.remove_extra_whitespaces", true},
      {"tokenizer.ggml.precompiled_charsmap", std::vector<std::uint64_t>{1}},
      {"tokenizer.ggml.scores", std::vector<double>{1, 2}},
      {"tokenizer.ggml.token_type", std::vector<std::int64_t>{1}},
      {"tokenizer.ggml.token_type", std::vector<std::int64_t>(150, 9)},
      {"tokenizer.ggml.tokens", std::vector<std::string>(150, "\xff")},
      {"tokenizer.ggml.tokens", std::vector<std::string>(150, std::string(2000, 'a'))},
      {"tokenizer.ggml.bos_token_id", std::uint64_t{1} << 33},
      {"tokenizer.ggml.new_rule", true},
  };
  for (const auto& [key, value] : refused) {
    const auto* name = key;
    check_error(text_error([&, &v = value](GgufDraft& d) { d.metadata[name] = v; }, true), name);
  }
  check_error(text_error([](GgufDraft& d) { d.metadata.erase("tokenizer.ggml.tokens"); }, true),
              "tokenizer.ggml.tokens");
  check_error(text_error(
                  [](GgufDraft& d) {
                    d.metadata["tokenizer.ggml.model"] = std::string("gpt2");
                    d.metadata["tokenizer.ggml.pre"] = std::string("tekken");
                  },
                  true),
              "tokenizer.ggml.pre");
}

TEST_CASE("Vision towers of GGUF files that are not understood are refused by name", "[gguf]") {
  CHECK(vision_error([](GgufDraft&) {}).empty());
  const std::pair<const char*, GgufValue> refused[] = {
      {"clip.projector_type", std::string("ldpv2")},
      {"clip.has_vision_encoder", false},
      {"clip.has_audio_encoder", true},
      {"clip.vision.feature_layer", std::vector<std::uint64_t>{1, 2}},
      {"clip.vision.feature_layer", std::vector<std::uint64_t>{9}},
      {"clip.vision.spatial_merge_size", std::uint64_t{2}},
      {"clip.vision.image_mean", std::vector<double>{1, 2}},
      {"clip.vision.image_std", std::vector<double>{1, 2, 0}},
      {"clip.vision.image_size", std::uint64_t{27}},
      {"clip.vision.patch_size", std::uint64_t{1} << 40},
      {"clip.vision.attention.head_count", std::uint64_t{2}},
      {"clip.vision.feed_forward_length", std::uint64_t{27}},
      {"clip.use_gelu", std::uint64_t{0}},
      {"general.architecture", std::string("llama")},
  };
  for (const auto& [key, value] : refused) {
    const auto* name = key;
    const std::string problem =
        name == std::string("clip.vision.image_size") ? "clip.vision.patch_size" : name;
    check_error(vision_error([&, &v = value](GgufDraft& d) { d.metadata[name] = v; }), problem);
  }
  const auto one_layer = [](GgufDraft& d) {
    d.metadata["clip.vision.feature_layer"] = std::vector<std::uint64_t>{1};
  };
  CHECK(vision_error(one_layer).empty());
}

TEST_CASE("One error lists all tensors of a GGUF file that do not match", "[gguf]") {
  const std::string error = text_error([](GgufDraft& d) {
    d.tensor("blk.0.attn_q.weight").name = "blk.0.attn_qkv.weight";
    d.tensor("blk.1.ffn_up.weight").dims = {48, 50};
    d.tensor("output_norm.weight").type = static_cast<GgufType>(99);
  });
  for (const char* part :
       {"missing: language_model.model.layers.0.self_attn.q_proj.weight",
        "misshapen: blk.1.ffn_up.weight: expected (50, 48), got (48, 50)",
        "wrong dtype: output_norm.weight: type 99", "unused: blk.0.attn_qkv.weight"})
    check_error(error, part);
  check_error(text_error([](GgufDraft& d) { d.metadata["llama.block_count"] = std::uint64_t{1}; }),
              "blk.1.attn_k.weight");
  check_error(text_error([](GgufDraft& d) { d.tensors.clear(); }), "missing");
  GgufDraft factors(kGguf / "llama3.gguf");
  factors.tensor("rope_freqs.weight").bytes.assign(16, '\0');
  const test::TempDirectory dir;
  const auto path = dir.write("x.gguf", factors.bytes());
  check_error(test::message_of<LoadError>([&] { Checkpoint::open(path, text_alone()); }),
              "rope_freqs.weight");
}

TEST_CASE("GGUF files in the wrong place are refused with what is expected", "[gguf]") {
  const auto error = [](const std::filesystem::path& model, const LoadOptions& options) {
    return test::message_of<Error>([&] { Checkpoint::open(model, options); });
  };
  check_error(error(kGguf / "llama.gguf", {}), "--mmproj");
  check_error(error(kGguf / "vision.gguf", with_vision()), "this one is for --mmproj");
  LoadOptions two_texts = with_vision();
  two_texts.mmproj = kGguf / "llama3.gguf";
  check_error(error(kGguf / "llama.gguf", two_texts), "is not a vision tower");
  check_error(error(kData / "model" / "plain_f32", with_vision()), "mmproj needs a model");
  LoadOptions based = with_vision();
  based.base = kData / "model" / "plain_f32";
  check_error(error(kGguf / "llama.gguf", based), "a base needs");
  LoadOptions none = with_vision();
  none.mmproj = kGguf / "none.gguf";
  check_error(error(kGguf / "llama.gguf", none), "none.gguf");
  check_error(error(kGguf / "none.gguf", {}), "none.gguf");
  check_error(error(kGguf, {}), "is a directory of GGUF files (llama.gguf, llama3.gguf, ");
  const test::TempDirectory dir;
  check_error(error(dir.write("a.gguf", "version https://git-lfs.github.com/spec/v1"), {}),
              "Git LFS pointer");
  check_error(error(dir.write("b.gguf", "hello"), {}), "not a GGUF file");
  LoadOptions quantize = with_vision();
  quantize.quantize = QuantizeOptions::of(WeightFormat::int8);
  check_error(test::message_of<ArgumentError>(
                  [&] { write_quantized_checkpoint(dir / "out", kGguf / "llama.gguf", quantize); }),
              "GGUF");
}

}  // namespace
