// Weights of GGUF files under canonical names: strict check, dequantization, order of rows.
#pragma once

#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/checkpoint/detail/gguf_config.hpp"
#include "pllava/checkpoint/detail/gguf_names.hpp"
#include "pllava/weights/detail/dims_str.hpp"
#include "pllava/weights/detail/gguf_blocks.hpp"
#include "pllava/weights/gguf.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava::detail {

/// The rows of a query or key projection in the order of llava-hf files. llama.cpp's converter
/// writes rows i and i + d/2 of a head, which a rotary position turns together, next to each other.
inline HostTensor unpermuted(const HostTensor& stored, Index heads) {
  const Index rows = stored.shape[0], half = rows / heads / 2;
  const auto row_bytes = static_cast<std::size_t>(stored.shape.rank() > 1 ? stored.shape[1] : 1) *
                         static_cast<std::size_t>(size_of(stored.dtype));
  const std::size_t bytes = static_cast<std::size_t>(rows) * row_bytes;
  std::shared_ptr<std::byte[]> copy;
  try {
    copy.reset(new std::byte[bytes]);
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError("a tensor with its rows in order", bytes);
  }
  for (Index h = 0; h < heads; ++h)
    for (Index part = 0; part < 2; ++part)
      for (Index i = 0; i < half; ++i) {
        const Index to = (h * 2 + part) * half + i, from = (h * half + i) * 2 + part;
        std::memcpy(copy.get() + static_cast<std::size_t>(to) * row_bytes,
                    stored.data + static_cast<std::size_t>(from) * row_bytes, row_bytes);
      }
  HostTensor tensor = stored;
  tensor.data = copy.get();
  tensor.owner = copy;
  return tensor;
}

/// The weights of a language model's file, and of a vision tower's.
class GgufSource final : public WeightSource {
 public:
  /// Adds the decoder's tensors.
  void add_text(const GgufFile& file, const TextConfig& text, std::string_view architecture) {
    const bool is_permuted = architecture == "llama";
    add(
        file, [](std::string_view name) { return canonical_text_name(name); },
        [&](std::string_view name) {
          if (!is_permuted) return Index{0};
          if (name.find(".q_proj.") != std::string_view::npos) return text.heads;
          return name.find(".k_proj.") != std::string_view::npos ? text.kv_heads : Index{0};
        });
  }
  /// Adds the tensors of a vision tower and its projector.
  void add_vision(const GgufFile& file, const VisionConfig& vision) {
    const bool swapped = has_swapped_ffn(file, vision);
    add(
        file, [&](std::string_view name) { return canonical_vision_name(name, swapped); },
        [](std::string_view) { return Index{0}; });
  }

  /// Compares the files with the tensors that the model reads, and fills the report.
  void check(const TensorTable& tensors, LoadReport& report) const {
    for (const GgufFile& file : files_) report.files.push_back(file.path());
    Index f32 = 0;
    for (const TensorSpec& spec : tensors) {
      const auto found = places_.find(spec.name);
      if (spec.presence == Presence::unused)
        report.ignored += found != places_.end();
      else if (found == places_.end())
        report.missing.push_back(spec.name);
      else
        f32 += check_tensor(spec, *found->second.entry, report);
    }
    if (2 * f32 > report.parameters) report.default_dtype = DType::f32;
    for (const auto& [name, place] : places_)
      if (tensors.find(name) == nullptr) report.unused.push_back(place.entry->name);
    report.unused.insert(report.unused.end(), unknown_.begin(), unknown_.end());
  }

  HostTensor tensor(const TensorSpec& spec) const override {
    const auto found = places_.find(spec.name);
    if (found == places_.end())
      throw LoadError(
          "no such tensor",
          {.file = files_.front().path(), .tensor = spec.name, .expected = {}, .got = {}});
    const Place& place = found->second;
    if (dims_of(spec.shape) != place.entry->dims)
      throw LoadError("tensor has another shape", {.file = files_[place.file].path(),
                                                   .tensor = place.entry->name,
                                                   .expected = spec.shape.str(),
                                                   .got = dims_str(place.entry->dims)});
    HostTensor stored = files_[place.file].tensor(place.entry->name);
    return place.permuted_heads == 0 ? stored : unpermuted(stored, place.permuted_heads);
  }

  bool contains(const std::string& name) const override { return places_.contains(name); }

 private:
  struct Place {
    std::size_t file;
    const GgufEntry* entry;
    Index permuted_heads;  // 0: the rows are in order
  };

  static std::vector<Index> dims_of(const Shape& shape) {
    std::vector<Index> dims;
    dims.reserve(Shape::kMaxRank);
    for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
    return dims;
  }

  template <class Rename, class Heads>
  void add(const GgufFile& file, const Rename& rename, const Heads& heads) {
    const std::size_t index = files_.size();
    files_.push_back(file);
    for (const GgufEntry& entry : files_.back().entries()) {
      const std::string name = rename(entry.name);
      if (name.empty()) {
        if (entry.name != kRopeFactors) unknown_.push_back(entry.name);
      } else if (!places_.emplace(name, Place{index, &entry, heads(name)}).second) {
        throw LoadError("two tensors have the same canonical name",
                        {.file = file.path(),
                         .tensor = entry.name,
                         .expected = "one tensor for " + name,
                         .got = {}});
      }
    }
  }

  /// Returns the number of elements that are stored as F32.
  static Index check_tensor(const TensorSpec& spec, const GgufEntry& entry, LoadReport& report) {
    ++report.tensors;
    ++report.dtypes[name_of(entry.type)];
    report.bytes += entry.size;
    const bool is_read = block_of(entry.type).elements != 0;
    Index count = is_read ? 1 : 0;  // what is read lies in the file, so no sum overflows
    for (const Index dim : entry.dims) count = saturated_product(count, dim);
    report.parameters += count;
    const std::vector<Index> dims = dims_of(spec.shape);
    if (entry.dims != dims)
      report.misshapen.push_back(entry.name + ": expected " + dims_str(dims) + ", got " +
                                 dims_str(entry.dims));
    if (!is_read)
      report.wrong_dtype.push_back(entry.name + ": " + name_of(entry.type) + " is not read");
    return entry.type == GgufType::f32 ? count : 0;
  }

  std::vector<GgufFile> files_;  // copies share their entries: pointers to these stay valid
  std::map<std::string, Place> places_;
  std::vector<std::string> unknown_;
};

}  // namespace pllava::detail
