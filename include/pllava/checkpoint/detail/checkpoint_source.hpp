// Weights of checkpoint directories: strict check, validation of what is read, merge of LoRA.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/checkpoint/detail/adapter_config.hpp"
#include "pllava/checkpoint/detail/checkpoint_files.hpp"
#include "pllava/weights/detail/dims_str.hpp"
#include "pllava/weights/lora.hpp"

namespace pllava::detail {

/// The weights of one or two directories under canonical names.
class CheckpointSource final : public WeightSource {
 public:
  struct Place {
    std::size_t file;
    const SafetensorsEntry* entry;
  };
  struct Parts {
    std::optional<Place> weight, lora_a, lora_b;
  };

  /// Adds a directory's tensors, replacing those of directories added before.
  void add(const std::filesystem::path& directory) {
    first_own_ = files_.size();
    std::map<std::pair<std::string, TensorPart>, const SafetensorsFile*> seen;
    auto shards = open_shards(directory);
    for (const SafetensorsFile& shard : shards) {
      const std::size_t file = files_.size();
      files_.push_back(shard);
      for (const SafetensorsEntry& entry : files_.back().entries()) {
        auto [name, part] = canonical_name(entry.name);
        if (!seen.emplace(std::pair(name, part), &shard).second)
          throw LoadError("two tensors have the same canonical name",
                          {.file = shard.path(),
                           .tensor = entry.name,
                           .expected = "one tensor for " + name,
                           .got = {}});
        Parts& parts = parts_[name];
        (part == TensorPart::weight   ? parts.weight
         : part == TensorPart::lora_a ? parts.lora_a
                                      : parts.lora_b) = Place{file, &entry};
      }
    }
  }

  /// A weight with LoRA factors, or nullptr.
  const std::string* find_lora() const noexcept {
    for (const auto& [name, parts] : parts_)
      if (parts.lora_a || parts.lora_b) return &name;
    return nullptr;
  }

  /// The weights that the directory added last replaces, or for which it has LoRA factors.
  std::set<std::string> changed_by_last() const {
    std::set<std::string> names;
    for (const auto& [name, parts] : parts_)
      for (const auto& place : {parts.weight, parts.lora_a, parts.lora_b})
        if (place && place->file >= first_own_) names.insert(name);
    return names;
  }

  /// Compares the files with the tensors that the model reads, and fills the report. `stored` holds
  /// the formats of quantized matrices in the files.
  void check(const TensorTable& tensors, const QuantizeOptions& stored, LoraScaling scaling,
             LoadReport& report) {
    stored_ = stored;
    scaling_ = std::move(scaling);
    for (const SafetensorsFile& file : files_) report.files.push_back(file.path());
    for (const TensorSpec& spec : tensors) {
      const auto found = parts_.find(spec.name);
      const Parts parts = found == parts_.end() ? Parts{} : found->second;
      if (spec.presence == Presence::unused)
        report.ignored += parts.weight ? 1 : 0;
      else
        check_tensor(spec, parts, report);
    }
    const auto f32 = report.dtypes.find("F32");
    if (f32 != report.dtypes.end() && 2 * f32->second > report.tensors)
      report.default_dtype = DType::f32;
    for (const auto& [name, parts] : parts_)
      if (tensors.find(name) == nullptr)
        for (const auto& place : {parts.weight, parts.lora_a, parts.lora_b})
          if (place) report.unused.push_back(place->entry->name);
    check_replaced_modules(tensors, report);
    if (report.lora_layers == 0) return;
    const auto& adapter = scaling_.adapter;
    report.lora_alpha = scaling_.common_alpha();
    report.lora_alpha_source = scaling_.alpha ? "option" : adapter ? kAdapterConfig : "default";
    report.lora_rank_stabilized = adapter && adapter->is_rank_stabilized;
  }

  HostTensor tensor(const TensorSpec& spec) const override {
    const std::string& name = spec.name;
    const Shape& shape = spec.shape;
    const auto found = parts_.find(name);
    if (found == parts_.end() || !found->second.weight)
      throw LoadError("no such tensor",
                      {.file = files_.front().path(), .tensor = name, .expected = {}, .got = {}});
    const Parts& parts = found->second;
    HostTensor weight = read(*parts.weight);
    const auto fail = [&](const char* problem, std::string expected, std::string got) {
      return LoadError(problem, {.file = files_[parts.weight->file].path(),
                                 .tensor = parts.weight->entry->name,
                                 .expected = std::move(expected),
                                 .got = std::move(got)});
    };
    const Quantization q = stored_quantization(spec, stored_);
    if (q.format != WeightFormat::unquantized) return as_quantized(weight, shape, q, fail);
    if (weight.shape != shape)
      throw fail("tensor has another shape", shape.str(), weight.shape.str());
    if (!is_floating(weight.dtype))
      throw fail("unsupported dtype", "F32, F16 or BF16", parts.weight->entry->format_dtype);
    if (!parts.lora_a || !parts.lora_b) return weight;
    const HostTensor a = read(*parts.lora_a), b = read(*parts.lora_b);
    try {
      const double rank = a.shape.rank() == 2 ? static_cast<double>(a.shape[0]) : 1.0;
      const double scale = scaling_.scale(parts.lora_a->entry->name, rank);
      return merge_lora(weight, a, b, static_cast<float>(scale));
    } catch (const ShapeError& e) {
      throw fail("LoRA factors do not fit", {}, e.what());
    } catch (const ArgumentError& e) {
      throw fail("LoRA factors do not fit", {}, e.what());
    }
  }

  bool contains(const std::string& name) const override {
    const auto found = parts_.find(name);
    return found != parts_.end() && found->second.weight;
  }

 private:
  static std::string mismatch(const SafetensorsEntry& e, const std::string& expected,
                              const std::string& got) {
    return e.name + ": expected " + expected + ", got " + got;
  }

  static void check_entry(const SafetensorsEntry& e, const std::vector<Index>& dims, bool quantized,
                          LoadReport& report) {
    if (e.dims != dims) report.misshapen.push_back(mismatch(e, dims_str(dims), dims_str(e.dims)));
    if (quantized && e.dtype != DType::u8)
      report.wrong_dtype.push_back(mismatch(e, "U8", e.format_dtype));
    else if (!quantized && (!e.dtype || !is_floating(*e.dtype)))
      report.wrong_dtype.push_back(mismatch(e, "F32, F16 or BF16", e.format_dtype));
  }

  void check_tensor(const TensorSpec& spec, const Parts& parts, LoadReport& report) const {
    std::vector<Index> dims;
    dims.reserve(Shape::kMaxRank);
    for (int i = 0; i < spec.shape.rank(); ++i) dims.push_back(spec.shape[i]);
    const Quantization q = stored_quantization(spec, stored_);
    const bool quantized = q.format != WeightFormat::unquantized;
    if (quantized) dims.back() = stored_row_bytes(q, dims.back());
    if (parts.weight) {
      const SafetensorsEntry& e = *parts.weight->entry;
      ++report.tensors;
      ++report.dtypes[e.format_dtype];
      report.bytes += e.size;
      if (quantized)
        report.parameters += spec.shape.count();
      else if (e.dtype)
        report.parameters += static_cast<Index>(e.size) / size_of(*e.dtype);
      check_entry(e, dims, quantized, report);
    } else {
      report.missing.push_back(spec.name);
    }
    check_lora(spec.name, parts, dims, quantized, report);
  }

  /// The LoRA factors A (r, I) and B (O, r) of a weight whose stored dimensions are `dims`.
  void check_lora(const std::string& name, const Parts& parts, const std::vector<Index>& dims,
                  bool quantized, LoadReport& report) const {
    if (!parts.lora_a && !parts.lora_b) return;
    if (quantized) {  // nothing can be merged into a quantized matrix
      for (const auto& place : {parts.lora_a, parts.lora_b})
        if (place) report.unused.push_back(place->entry->name);
      return;
    }
    if (!parts.lora_a || !parts.lora_b) {
      report.missing.push_back(name + (parts.lora_a ? " (lora_B)" : " (lora_A)"));
      return;
    }
    const auto& a = parts.lora_a->entry->dims;
    const std::string& factor = parts.lora_a->entry->name;
    const Index rank = scaling_.rank_of(factor, a.empty() ? 1 : std::max<Index>(a[0], 1));
    check_entry(*parts.lora_a->entry, {rank, dims.back()}, false, report);
    check_entry(*parts.lora_b->entry, {dims.front(), rank}, false, report);
    ++report.lora_layers;
    report.lora_alpha_patterned += scaling_.alpha_of(factor) != scaling_.common_alpha();
    report.lora_rank = std::max(report.lora_rank, rank);
  }

  /// The adapter has to hold each module of modules_to_save, and may not replace the embeddings if
  /// the base's stay in use as lm_head.
  void check_replaced_modules(const TensorTable& tensors, LoadReport& report) const {
    if (!scaling_.adapter) return;
    for (const std::string& module : scaling_.adapter->modules_to_save) {
      bool is_held = false;
      for (std::size_t i = first_own_; i < files_.size(); ++i)
        for (const SafetensorsEntry& entry : files_[i].entries())
          is_held = is_held || ("." + entry.name).find("." + module + ".") != std::string::npos;
      if (!is_held) report.missing.push_back(module + " (modules_to_save)");
    }
    const auto is_required = [&](const char* name) {
      const TensorSpec* spec = tensors.find(name);
      return spec != nullptr && spec->presence == Presence::required;
    };
    const char* const name = "language_model.model.embed_tokens.weight";
    const auto embeddings = parts_.find(name);
    if (embeddings == parts_.end() || !embeddings->second.weight || first_own_ == 0 ||
        embeddings->second.weight->file < first_own_ || scaling_.adapter->ensures_tying ||
        !is_required(name) || is_required("language_model.lm_head.weight"))
      return;
    throw LoadError("the adapter replaces embeddings that the base also uses as lm_head",
                    {.file = files_[embeddings->second.weight->file].path(),
                     .tensor = embeddings->second.weight->entry->name,
                     .expected = "ensure_weight_tying in adapter_config.json",
                     .got = {}});
  }

  /// `weight` as a matrix of `shape` quantized in the file; every row is checked.
  template <class Fail>
  static HostTensor as_quantized(HostTensor weight, const Shape& shape, const Quantization& q,
                                 const Fail& fail) {
    const Shape stored{shape[0], stored_row_bytes(q, shape[1])};
    if (weight.dtype != DType::u8 || weight.shape != stored)
      throw fail("not a quantized matrix", "U8 " + stored.str(),
                 std::string(name_of(weight.dtype)) + ' ' + weight.shape.str());
    weight.shape = shape;
    weight.quantization = q;
    try {
      for (Index r = 0; r < shape[0]; ++r)
        load_row(weight.data + r * stored[1], shape[1], q, false);
    } catch (const ArgumentError& e) {
      throw fail("a row is damaged", {}, e.what());
    }
    return weight;
  }

  HostTensor read(const Place& place) const { return files_[place.file].tensor(place.entry->name); }

  std::vector<SafetensorsFile> files_;  // copies share their entries: pointers to these stay valid
  std::size_t first_own_ = 0;           // of the directory that was added last
  std::map<std::string, Parts> parts_;
  QuantizeOptions stored_;
  LoraScaling scaling_;
};

}  // namespace pllava::detail
