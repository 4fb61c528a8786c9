// Bodies of quantized_checkpoint.hpp.
#pragma once

#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "pllava/checkpoint/detail/model_directory.hpp"
#include "pllava/checkpoint/detail/quantization_json.hpp"
#include "pllava/checkpoint/quantized_checkpoint.hpp"
#include "pllava/core/thread_pool.hpp"
#include "pllava/io/detail/directory.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/output_file.hpp"
#include "pllava/weights/detail/safetensors_writer.hpp"
#include "pllava/weights/gguf.hpp"

namespace pllava {
namespace detail {

/// Copies configurations and tokenizers.
PLLAVA_INLINE void copy_small_files(const std::filesystem::path& from,
                                    const std::filesystem::path& to) {
  std::error_code error;
  const std::vector<std::filesystem::path> files = list_directory(from, error);
  if (error) throw FileError(from.string(), "cannot be listed: " + error.message());
  for (const std::filesystem::path& file : files) {
    const std::string name = file.filename().string();
    const bool is_copied = (name.ends_with(".json") && !name.ends_with(".index.json") &&
                            !name.starts_with("adapter_")) ||
                           name == "tokenizer.model";
    if (!is_copied || !std::filesystem::is_regular_file(file, error)) continue;
    std::filesystem::copy_file(file, to / name, std::filesystem::copy_options::overwrite_existing,
                               error);
    if (error)
      throw FileError((to / name).string(),
                      "cannot be copied from " + file.string() + ": " + error.message());
  }
}

/// Without `own_weights` the tensors of the checkpoint are quantized.
PLLAVA_INLINE void write_quantized(const std::filesystem::path& to,
                                   const std::filesystem::path& from, const LoadOptions& options,
                                   const WeightScope* own_weights, const RunControl& control) {
  const QuantizeOptions& formats = options.quantize;
  if (!formats.any()) throw ArgumentError("nothing to quantize: expected int8, int4 or fp8");
  if (is_gguf(from))
    throw ArgumentError(from.string() +
                        ": a GGUF file has no config.json to copy; its weights can be quantized "
                        "when they are loaded");
  const Checkpoint checkpoint = Checkpoint::open(from, options);
  if (checkpoint.stored_formats().any())
    throw ArgumentError(from.string() + ": the weights are quantized already");
  const WeightScope weights =
      quantized(own_weights != nullptr ? *own_weights : checkpoint[""], formats);
  OutputDirectory directory(to);
  if (!options.base.empty()) copy_small_files(base_directory(options), directory.part());
  copy_small_files(model_directory(from, options), directory.part());

  const std::filesystem::path config_path = directory.part() / "config.json";
  JsonDocument config = read_json_object(config_path);
  nlohmann::json& recorded = config.root[kFormatsKey];
  recorded = nlohmann::json::object();
  write_format(recorded["vision"], formats.vision);
  write_format(recorded["language"], formats.language);
  const std::string text = config.root.dump(2) + "\n";
  OutputFile config_file(config_path);
  config_file.write(text.data(), text.size());
  config_file.commit();

  ThreadPool pool;
  const Index total = checkpoint.tensors().required();
  Index done = 0;
  std::vector<TensorToWrite> tensors;
  for (const TensorSpec& spec : checkpoint.tensors()) {
    if (spec.presence != Presence::required) continue;
    const Quantization q = stored_quantization(spec, formats);
    if (q.format == WeightFormat::unquantized) {
      tensors.push_back({spec.name, weights.tensor(spec).dtype, spec.shape, [&, spec] {
                           control.at("quantize", ++done, total);
                           return weights.tensor(spec);
                         }});
      continue;
    }
    const Shape stored{spec.shape[0], stored_row_bytes(q, spec.shape[1])};
    tensors.push_back({spec.name, DType::u8, stored, [&, spec, stored, q] {
                         control.at("quantize", ++done, total);
                         const HostTensor w = weights.tensor(spec);
                         if (w.quantization != q)
                           throw LoadError("the tensor is quantized to another format",
                                           {.file = {},
                                            .tensor = spec.name,
                                            .expected = std::string(name_of(q.format)),
                                            .got = std::string(name_of(w.quantization.format))});
                         if (w.dtype == DType::u8)
                           return HostTensor{DType::u8, stored, w.data, w.owner};
                         const auto bytes = std::make_shared<std::vector<std::byte>>(
                             static_cast<std::size_t>(stored.count()));
                         pool.run(stored[0], [&](Index r) {
                           store_row(bytes->data() + r * stored[1], quantized_row(w, r), q);
                         });
                         return HostTensor{DType::u8, stored, bytes->data(), bytes};
                       }});
  }
  write_safetensors(directory.part() / "model.safetensors", std::move(tensors), {{"format", "pt"}});
  directory.commit();
}

}  // namespace detail

PLLAVA_INLINE void write_quantized_checkpoint(const std::filesystem::path& to,
                                              const std::filesystem::path& from,
                                              const LoadOptions& options,
                                              const RunControl& control) {
  detail::write_quantized(to, from, options, nullptr, control);
}

PLLAVA_INLINE void write_quantized_checkpoint(const std::filesystem::path& to,
                                              const std::filesystem::path& from,
                                              const LoadOptions& options,
                                              const WeightScope& weights,
                                              const RunControl& control) {
  detail::write_quantized(to, from, options, &weights, control);
}

}  // namespace pllava
