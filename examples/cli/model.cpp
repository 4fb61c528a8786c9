#include "model.hpp"

#include <filesystem>
#include <utility>
#include <vector>

#include "device.hpp"
#include "output.hpp"
#include "pllava/checkpoint/model_parts.hpp"
#include "pllava/core/stopwatch.hpp"
#include "pllava/io/mapped_file.hpp"
#include "pllava/models/text_architecture.hpp"
#ifdef PLLAVA_HAS_SENTENCEPIECE
#include "pllava/text/tokenizer_sentencepiece.hpp"
#endif

namespace cli {
namespace {

namespace fs = std::filesystem;

pllava::Pipeline from_checkpoint(const Context& context) {
  const Options& o = context.options;
  const pllava::LoadOptions load = load_options(o);
  pllava::ModelFiles files = open_model(o);
  const pllava::DType dtype = o.dtype.value_or(files.checkpoint.report().dtype());
  const auto packed = pllava::packed_weights(files.checkpoint, load, dtype);
  pllava::Pipeline pipeline = on_device(
      o, dtype,
      [&](auto backend) {
        return pllava::Pipeline::load(std::move(files), std::move(backend), context.control());
      },
      packed);
  if (packed != nullptr) packed->commit();
  return pipeline;
}

pllava::Pipeline from_random_weights(const Context& context) {
  const Options& o = context.options;
  pllava::ModelConfig config = pllava::ModelConfig::preset(o.random_weights);
  config.frames = o.frames.value_or(config.frames);
  config.pool.output = o.pool.value_or(config.pool.output);
  const pllava::DType dtype = o.dtype.value_or(pllava::DType::f32);
  return on_device(o, dtype, [&](auto backend) {
    return pllava::Pipeline::random(
        config, std::move(backend),
        pllava::quantized(pllava::RandomWeights::scope(o.generate.sampling.seed, dtype),
                          quantize_options(o)),
        context.control());
  });
}

/// The directory of the model or its base that has file `name`; empty if neither has.
fs::path directory_of(const char* name, const Options& o) {
  const fs::path own = pllava::model_directory(o.model, load_options(o));
  if (fs::exists(own / name)) return own;
  if (o.base.empty()) return {};
  const fs::path base = pllava::model_directory(o.base);
  return fs::exists(base / name) ? base : fs::path();
}

/// The directory of tokenizer.model, if that is the tokenizer to read.
fs::path sentencepiece_directory([[maybe_unused]] const Options& o) {
#ifdef PLLAVA_HAS_SENTENCEPIECE
  if (!pllava::is_gguf(o.model) && directory_of("tokenizer.json", o).empty())
    return directory_of("tokenizer.model", o);
#endif
  return {};
}

}  // namespace

bool has_tokenizer(const Options& o) {
  return pllava::is_gguf(o.model) || !directory_of("tokenizer.json", o).empty() ||
         !sentencepiece_directory(o).empty();
}

pllava::Tokenizer open_tokenizer(const Options& o) {
#ifdef PLLAVA_HAS_SENTENCEPIECE
  if (const fs::path directory = sentencepiece_directory(o); !directory.empty())
    return pllava::tokenizer_from_sentencepiece(directory / "tokenizer.model");
#endif
  return pllava::read_tokenizer(o.model, load_options(o));
}

pllava::ModelFiles open_model(const Options& o) {
  return pllava::ModelFiles::open(o.model, load_options(o), open_tokenizer(o));
}

pllava::QuantizeOptions quantize_options(const Options& o) {
  pllava::QuantizeOptions q = pllava::QuantizeOptions::of(o.weights);
  q.vision = {o.vision_weights.value_or(q.vision.format), o.group, o.zero_points};
  q.language = {o.lm_weights.value_or(q.language.format), o.group, o.zero_points};
  return q;
}

pllava::LoadOptions load_options(const Options& o) {
  pllava::LoadOptions load;
  load.lora_alpha = o.lora_alpha;
  load.strict = !o.lenient;
  load.base = o.base;
  load.mmproj = o.mmproj;
  load.frames = o.frames;
  load.pool = o.pool;
  load.quantize = quantize_options(o);
  load.cache = o.cache;
  return load;
}

std::span<const pllava::ArchitectureInfo> all_architectures() {
  static const std::vector<pllava::ArchitectureInfo> all = [] {
    std::vector<pllava::ArchitectureInfo> list;
    for (const auto& infos : {pllava::builtin_architectures(), pllava::text_architectures()})
      list.insert(list.end(), infos.begin(), infos.end());
    return list;
  }();
  return all;
}

bool has_vision(const pllava::Checkpoint& checkpoint) {
  return checkpoint["vision_tower"].contains("vision_model.embeddings.patch_embedding.weight");
}

pllava::PreprocessConfig preprocess_of(const Options& o, const pllava::LoadOptions& load,
                                       const pllava::Checkpoint& checkpoint) {
  const auto preprocess = pllava::read_preprocess(o.model, load);
  pllava::PreprocessConfig config = preprocess.value_or(pllava::PreprocessConfig{});
  if (!preprocess) config.image_size = checkpoint.config().vision.image_size;
  return config;
}

std::string read_text(const std::string& path) {
  const auto file = pllava::MappedFile::open(path);
  const auto bytes = file->bytes();
  constexpr std::size_t kMaxBytes = std::size_t{16} << 20;
  if (bytes.size() > kMaxBytes)
    throw pllava::LoadError("is too large", {.file = path,
                                             .tensor = {},
                                             .expected = std::to_string(kMaxBytes) + " bytes",
                                             .got = std::to_string(bytes.size())});
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

LoadedModel load_model(const Context& context) {
  pllava::Stopwatch watch;
  pllava::Pipeline pipeline = context.options.random_weights.empty() ? from_checkpoint(context)
                                                                     : from_random_weights(context);
  const double load_ms = watch.lap();
  if (!pipeline.warnings().empty()) context.status.clear();
  for (const std::string& warning : pipeline.warnings())
    report_warning(context.options.model + ": " + warning);
  return {std::move(pipeline), load_ms};
}

}  // namespace cli
