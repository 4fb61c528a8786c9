// Bodies of pipeline.hpp.
#pragma once

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "pllava/checkpoint/detail/quantization_json.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/cpu/packed_weights.hpp"
#include "pllava/io/digest.hpp"
#include "pllava/io/mapped_file.hpp"
#include "pllava/pipeline.hpp"
#include "pllava/runtime/detail/frames_for_model.hpp"
#include "pllava/text/prompt.hpp"
#include "pllava/weights/random_weights.hpp"
#include "pllava/weights/safetensors.hpp"

namespace pllava {

namespace detail {

/// Identifies a file: its size, digest, and the times of the last changes of its content and of its
/// status, which programs cannot set.
inline nlohmann::json file_identity(const std::filesystem::path& path, std::uint64_t digest) {
  struct ::stat status {};
  if (::stat(path.c_str(), &status) != 0)
    throw LoadError("the file cannot be read",
                    {.file = path.string(), .tensor = {}, .expected = {}, .got = {}});
  return {{"size", status.st_size},
          {"changed", {status.st_mtim.tv_sec, status.st_mtim.tv_nsec}},
          {"status_changed", {status.st_ctim.tv_sec, status.st_ctim.tv_nsec}},
          {"digest", digest}};
}

/// The origin of packed weights as JSON: the load options and the files.
inline nlohmann::json packed_origin(const Checkpoint& checkpoint, const LoadOptions& options,
                                    DType dtype) {
  nlohmann::json origin;
  origin["dtype"] = name_of(dtype);
  origin["lora_alpha"] = options.lora_alpha;
  origin["vision"] = to_json(options.quantize.vision);
  origin["language"] = to_json(options.quantize.language);
  nlohmann::json& files = origin["files"] = nlohmann::json::object();
  for (const std::filesystem::path file : checkpoint.report().files) {
    const std::filesystem::path weights = std::filesystem::canonical(file);
    files[weights.string()] = file_identity(weights, SafetensorsFile::open(file).sampled_digest());
    const std::filesystem::path config = file.parent_path() / "config.json";
    if (std::error_code error; std::filesystem::exists(config, error))
      files[std::filesystem::canonical(config).string()] =
          file_identity(config, Digest().add(MappedFile::open(config)->bytes()).value());
  }
  return origin;
}

/// Adds the checksum of its whole content to each file of an origin.
inline nlohmann::json with_content(nlohmann::json origin) {
  for (auto& [path, identity] : origin["files"].items())
    identity["content"] = checksum(MappedFile::open(path)->bytes());
  return origin;
}

inline nlohmann::json without_status_times(nlohmann::json origin) {
  for (auto& identity : origin["files"]) identity.erase("status_changed");
  return origin;
}

}  // namespace detail

PLLAVA_INLINE Pipeline::Pipeline(std::shared_ptr<const Model> model, Tokenizer tokenizer,
                                 const PreprocessConfig& preprocess)
    : model_(std::move(model)), tokenizer_(std::move(tokenizer)), preprocess_(preprocess) {
  if (preprocess_.image_size != config().vision.image_size)
    throw LoadError(
        "the image size does not fit the vision tower",
        {"preprocessor_config.json", "crop_size", std::to_string(config().vision.image_size),
         std::to_string(preprocess_.image_size)});
  const auto image = tokenizer_.id_of(kVideoToken);
  if (!image || *image != static_cast<std::int32_t>(config().image_token))
    throw LoadError(
        "tokenizer and model disagree about the image token",
        {"tokenizer.json", std::string(kVideoToken), std::to_string(config().image_token),
         image ? std::to_string(*image) : "no such token"});
}

PLLAVA_INLINE void Pipeline::add_warnings(const LoadReport& report) {
  warnings_ = report.warnings();
  for (std::string& warning : end_token_warnings(tokenizer_, config().eos_tokens))
    warnings_.push_back(std::move(warning));
}

PLLAVA_INLINE ModelFiles ModelFiles::open(const std::filesystem::path& directory,
                                          const LoadOptions& options) {
  if (!std::filesystem::is_directory(directory))
    throw LoadError("no such directory", {directory.string(), {}, {}, {}});
  return open(directory, options, Tokenizer::from_directory(directory));
}

PLLAVA_INLINE ModelFiles ModelFiles::open(const std::filesystem::path& directory,
                                          const LoadOptions& options, Tokenizer tokenizer) {
  const PreprocessConfig preprocess = PreprocessConfig::from_directory(directory);
  return {std::move(tokenizer), preprocess, Checkpoint::open(directory, options)};
}

PLLAVA_INLINE std::shared_ptr<cpu::PackedWeights> packed_weights(const Checkpoint& checkpoint,
                                                                 const LoadOptions& options,
                                                                 DType dtype) {
  if (options.cache.empty()) return nullptr;
  const nlohmann::json origin = detail::packed_origin(checkpoint, options, dtype);
  // A copied or unpacked file has a new status time: then its whole content is compared.
  const auto is_current = [&](std::string_view text) {
    nlohmann::json stored = nlohmann::json::parse(text), same_time = stored;
    for (auto& identity : same_time["files"]) identity.erase("content");
    if (same_time == origin) return true;
    return detail::without_status_times(same_time) == detail::without_status_times(origin) &&
           detail::without_status_times(stored) ==
               detail::without_status_times(detail::with_content(origin));
  };
  return std::make_shared<cpu::PackedWeights>(options.cache, is_current,
                                              [&] { return detail::with_content(origin).dump(); });
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
