// Bodies of pipeline.hpp.
#pragma once

#include <bit>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <sys/stat.h>

#include "pllava/checkpoint/model_parts.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/cpu/packed_weights.hpp"
#include "pllava/io/digest.hpp"
#include "pllava/io/mapped_file.hpp"
#include "pllava/pipeline.hpp"
#include "pllava/runtime/detail/frames_for_model.hpp"
#include "pllava/text/prompt.hpp"
#include "pllava/weights/random_weights.hpp"

namespace pllava {

namespace detail {

/// What packed weights are made from, as lines of text.
struct PackedOrigin {
  std::string identity;  ///< the options; of each file its path, size, time of change and digest
  std::string status;    ///< times at which the files' status changed, which programs cannot set
  std::vector<std::filesystem::path> files;

  void add_options(const LoadOptions& options, DType dtype) {
    identity.append("dtype ").append(name_of(dtype));
    identity.append("\nlora_alpha ")
        .append(options.lora_alpha
                    ? std::to_string(std::bit_cast<std::uint64_t>(*options.lora_alpha))
                    : "of the file")
        .append("\n");
    for (const Quantization& q : {options.quantize.vision, options.quantize.language})
      identity.append(name_of(q.format))
          .append(" group ")
          .append(std::to_string(q.group))
          .append(q.zero_points ? " zp\n" : "\n");
    status = "status";
  }

  void add_file(const std::filesystem::path& file, std::uint64_t digest) {
    files.push_back(std::filesystem::canonical(file));
    const std::string path = files.back().string();
    struct ::stat s {};
    if (::stat(path.c_str(), &s) != 0)
      throw LoadError("the file cannot be read",
                      {.file = path, .tensor = {}, .expected = {}, .got = {}});
    identity.append("file ").append(path);
    for (const std::uint64_t value :
         {static_cast<std::uint64_t>(s.st_size), static_cast<std::uint64_t>(s.st_mtim.tv_sec),
          static_cast<std::uint64_t>(s.st_mtim.tv_nsec), digest})
      identity.append(" ").append(std::to_string(value));
    identity.append("\n");
    status.append(" ").append(std::to_string(s.st_ctim.tv_sec));
    status.append(" ").append(std::to_string(s.st_ctim.tv_nsec));
  }

  /// The checksums of the whole files.
  std::string content() const {
    std::string text = "content";
    for (const std::filesystem::path& file : files)
      text += " " + std::to_string(checksum(MappedFile::open(file)->bytes()));
    return text;
  }

  std::string str() const { return identity + status + "\n" + content(); }

  /// Whether weights of the origin `text` are those of this one. A copied or unpacked file has a
  /// new status time: then its whole content is compared.
  bool equals(std::string_view text) const {
    if (!text.starts_with(identity)) return false;
    text.remove_prefix(identity.size());
    const std::size_t line_end = text.find('\n');
    if (line_end == std::string_view::npos) return false;
    return text.substr(0, line_end) == status || text.substr(line_end + 1) == content();
  }
};

}  // namespace detail

PLLAVA_INLINE void require_consistent(const ModelConfig& config, const Tokenizer& tokenizer,
                                      const PreprocessConfig& preprocess) {
  if (preprocess.image_size != config.vision.image_size)
    throw LoadError(
        "the image size does not fit the vision tower",
        {"preprocessor_config.json", "crop_size", std::to_string(config.vision.image_size),
         std::to_string(preprocess.image_size)});
  const auto image = tokenizer.id_of(kVideoToken);
  if (!image || *image != static_cast<std::int32_t>(config.image_token))
    throw LoadError("tokenizer and model disagree about the image token",
                    {"tokenizer.json", std::string(kVideoToken), std::to_string(config.image_token),
                     image ? std::to_string(*image) : "no such token"});
}

PLLAVA_INLINE Pipeline::Pipeline(std::shared_ptr<const Model> model, Tokenizer tokenizer,
                                 const PreprocessConfig& preprocess)
    : model_(std::move(model)), tokenizer_(std::move(tokenizer)), preprocess_(preprocess) {
  require_consistent(config(), tokenizer_, preprocess_);
}

PLLAVA_INLINE void Pipeline::add_warnings(const LoadReport& report) {
  warnings_ = report.warnings();
  for (std::string& warning : end_token_warnings(tokenizer_, config().eos_tokens))
    warnings_.push_back(std::move(warning));
  if (const std::string& key = config().conversation_template; !key.empty())
    for (std::string& warning : template_warnings(conversation_template(key), tokenizer_))
      warnings_.push_back(std::move(warning));
}

PLLAVA_INLINE ModelFiles ModelFiles::open(const std::filesystem::path& model,
                                          const LoadOptions& options) {
  return open(model, options, read_tokenizer(model, options));
}

PLLAVA_INLINE ModelFiles ModelFiles::open(const std::filesystem::path& model,
                                          const LoadOptions& options, Tokenizer tokenizer) {
  std::optional<PreprocessConfig> preprocess = read_preprocess(model, options);
  Checkpoint checkpoint = Checkpoint::open(model, options);
  if (!preprocess) {
    preprocess.emplace();
    preprocess->image_size = checkpoint.config().vision.image_size;
  }
  return {std::move(tokenizer), *preprocess, std::move(checkpoint), model, options};
}

PLLAVA_INLINE ModelFiles Pipeline::open_adapter(const std::filesystem::path& adapter,
                                                const std::filesystem::path& base,
                                                LoadOptions options,
                                                std::optional<double> lora_alpha,
                                                const Tokenizer& of_base) {
  options.base = base;
  options.lora_alpha = lora_alpha;
  options.cache.clear();
  std::error_code error;
  const bool has_tokenizer = std::filesystem::exists(adapter / "tokenizer.json", error);
  ModelFiles files = has_tokenizer ? ModelFiles::open(adapter, options)
                                   : ModelFiles::open(adapter, options, of_base);
  const auto required = static_cast<std::size_t>(files.checkpoint.tensors().required());
  if (files.checkpoint.adapted().size() >= required)
    throw LoadError("holds a whole model", {.file = adapter.string(),
                                            .tensor = {},
                                            .expected = "an adapter over " + base.string(),
                                            .got = {}});
  return files;
}

PLLAVA_INLINE Pipeline Pipeline::with_adapter(const std::filesystem::path& adapter,
                                              std::optional<double> lora_alpha,
                                              const RunControl& control) const {
  if (!load_adapter_)
    throw ArgumentError("with_adapter: the model was not loaded from a directory");
  return load_adapter_(adapter, lora_alpha, control);
}

PLLAVA_INLINE std::shared_ptr<cpu::PackedWeights> packed_weights(const Checkpoint& checkpoint,
                                                                 const LoadOptions& options,
                                                                 DType dtype) {
  if (options.cache.empty()) return nullptr;
  detail::PackedOrigin origin;
  origin.add_options(options, dtype);
  for (const std::filesystem::path file : checkpoint.report().files) {
    origin.add_file(file, sampled_digest(file));
    for (const char* name : {"config.json", "adapter_config.json"}) {
      const std::filesystem::path config = file.parent_path() / name;
      if (std::error_code error; std::filesystem::exists(config, error))
        origin.add_file(config, Digest().add(MappedFile::open(config)->bytes()).value());
    }
  }
  return std::make_shared<cpu::PackedWeights>(
      options.cache, [&](std::string_view text) { return origin.equals(text); },
      [&] { return origin.str(); });
}

PLLAVA_INLINE Pipeline Pipeline::load(const std::filesystem::path& directory,
                                      const LoadOptions& options,
                                      const cpu::BackendOptions& backend,
                                      const RunControl& control) {
  ModelFiles files = ModelFiles::open(directory, options);
  cpu::BackendOptions chosen = backend;
  if (!chosen.dtype) chosen.dtype = options.dtype;
  if (!chosen.dtype) chosen.dtype = files.checkpoint.report().dtype();
  if (chosen.threads == 0) chosen.threads = options.threads;
  chosen.packed = packed_weights(files.checkpoint, options, *chosen.dtype);
  Pipeline pipeline = load(std::move(files), cpu::Backend(chosen), control);
  if (chosen.packed != nullptr) chosen.packed->commit();
  return pipeline;
}

PLLAVA_INLINE Pipeline Pipeline::random(const ModelConfig& config, std::uint64_t seed,
                                        const cpu::BackendOptions& backend,
                                        const RunControl& control) {
  return random(config, cpu::Backend(backend), seed, control);
}

PLLAVA_INLINE Session Pipeline::watch(const Clip& clip, const WatchOptions& options) const {
  Session session(model_, tokenizer_, options);
  session.watch(clip, preprocess_, options);
  return session;
}

PLLAVA_INLINE Session Pipeline::watch(const EncodedVideo& video,
                                      const WatchOptions& options) const {
  Session session(model_, tokenizer_, options);
  session.watch(video, options);
  return session;
}

PLLAVA_INLINE EncodedVideo Pipeline::encode(const Clip& clip, const RunControl& control) const {
  const std::vector<Frame> frames = detail::frames_for_model(clip, config().frames);
  return model_->make_encoder()->encode_clip(frames, preprocess_, control, nullptr);
}

PLLAVA_INLINE EncodedVideo Pipeline::encode_frames(std::span<const Frame> frames,
                                                   const RunControl& control) const {
  return model_->make_encoder()->encode_frames(frames, preprocess_, control);
}

}  // namespace pllava
