// Bodies of checkpoint.hpp: finding shards, mapping names, checking, merging.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/checkpoint/detail/quantization_json.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/weights/detail/safetensors_writer.hpp"
#include "pllava/weights/lora.hpp"
#include "pllava/weights/safetensors.hpp"

namespace pllava {
namespace detail {

enum class TensorPart { weight, lora_a, lora_b };

struct CanonicalName {
  std::string name;
  TensorPart part = TensorPart::weight;
};

/// The llava-hf name of a tensor and which part of that weight it is.
PLLAVA_INLINE CanonicalName canonical_name(std::string name) {
  const auto replace_prefix = [&](std::string_view from, std::string_view to) {
    if (name.starts_with(from)) name.replace(0, from.size(), to);
  };
  replace_prefix("model.language_model.", "language_model.model.");
  replace_prefix("model.vision_tower.", "vision_tower.");
  replace_prefix("model.multi_modal_projector.", "multi_modal_projector.");
  replace_prefix("model.image_newline", "image_newline");
  replace_prefix("lm_head.", "language_model.lm_head.");
  replace_prefix("language_model.base_model.model.", "language_model.");
  const std::pair<std::string_view, TensorPart> endings[] = {
      {".base_layer.weight", TensorPart::weight},
      {".lora_A.default.weight", TensorPart::lora_a},
      {".lora_A.weight", TensorPart::lora_a},
      {".lora_B.default.weight", TensorPart::lora_b},
      {".lora_B.weight", TensorPart::lora_b}};
  for (const auto& [ending, part] : endings)
    if (name.ends_with(ending))
      return {name.substr(0, name.size() - ending.size()) + ".weight", part};
  return {std::move(name), TensorPart::weight};
}

/// The safetensors files of a directory, headers checked.
PLLAVA_INLINE std::vector<SafetensorsFile> open_shards(const std::filesystem::path& directory) {
  std::error_code error;
  std::vector<SafetensorsFile> files;
  const auto index_path = directory / "model.safetensors.index.json";
  if (std::filesystem::exists(index_path, error)) {
    const auto fail = [&](const std::string& problem, std::string tensor, std::string expected,
                          std::string got) {
      return LoadError(problem, {.file = index_path.string(),
                                 .tensor = std::move(tensor),
                                 .expected = std::move(expected),
                                 .got = std::move(got)});
    };
    const nlohmann::json index = read_json_object(index_path);
    const auto map = index.find("weight_map");
    if (map == index.end() || !map->is_object() || map->empty())
      throw fail("malformed index", "weight_map", "a map from tensor to file", {});
    std::map<std::string, std::vector<std::string>> shards;
    for (const auto& [tensor, file] : map->items()) {
      if (!file.is_string()) throw fail("malformed index", tensor, "a file name", file.type_name());
      const auto& name = file.get_ref<const std::string&>();
      if (name.empty() || name == "." || name == ".." ||
          name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
        throw fail("index names a file outside the directory", tensor, "a plain file name", name);
      shards[name].push_back(tensor);
    }
    for (const auto& [name, tensors] : shards) {
      files.push_back(SafetensorsFile::open(directory / name));
      for (const std::string& tensor : tensors)
        if (files.back().find(tensor) == nullptr)
          throw fail("index names a tensor that its file lacks", tensor, "it in " + name, {});
    }
    return files;
  }
  std::set<std::filesystem::path> paths;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("model-0") && name.ends_with(".safetensors")) paths.insert(it->path());
  }
  if (paths.empty()) paths.insert(directory / "model.safetensors");
  for (const auto& path : paths) files.push_back(SafetensorsFile::open(path));
  return files;
}

inline std::string joined(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& item : list) text += (text.empty() ? "" : ", ") + item;
  return text;
}

/// Files, and where in them each canonical tensor is.
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
    std::map<std::pair<std::string, TensorPart>, const SafetensorsFile*> seen;
    auto shards = open_shards(directory);
    for (const SafetensorsFile& shard : shards) {
      const std::size_t file = files_.size();
      files_.push_back(shard);
      for (const SafetensorsEntry& entry : files_.back().entries()) {
        auto [name, part] = canonical_name(entry.name);
        if (!seen.emplace(std::pair(name, part), &shard).second)
          throw LoadError("two tensors stand for the same weight",
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

  /// Compares with what the model needs and fills the report. `stored` says what is quantized.
  void check(const TensorTable& tensors, const QuantizeOptions& stored, double lora_alpha,
             LoadReport& report) {
    stored_ = stored;
    lora_alpha_ = lora_alpha;
    for (const SafetensorsFile& file : files_) report.files.push_back(file.path());
    const auto mismatch = [](const SafetensorsEntry& e, const std::string& expected,
                             const std::string& got) {
      return e.name + ": expected " + expected + ", got " + got;
    };
    const auto check_part = [&](const Place& place, const std::vector<Index>& dims,
                                bool quantized = false) {
      const SafetensorsEntry& e = *place.entry;
      if (e.dims != dims) report.misshapen.push_back(mismatch(e, dims_str(dims), dims_str(e.dims)));
      if (quantized && e.dtype != DType::u8)
        report.wrong_dtype.push_back(mismatch(e, "U8", e.format_dtype));
      else if (!quantized && (!e.dtype || !is_floating(*e.dtype)))
        report.wrong_dtype.push_back(mismatch(e, "F32, F16 or BF16", e.format_dtype));
    };
    std::set<std::string> known;
    for (const TensorSpec& spec : tensors) {
      known.insert(spec.name);
      const auto found = parts_.find(spec.name);
      const Parts parts = found == parts_.end() ? Parts{} : found->second;
      if (spec.presence == Presence::unused) {
        report.ignored += parts.weight ? 1 : 0;
        continue;
      }
      std::vector<Index> dims;
      dims.reserve(Shape::kMaxRank);
      for (int i = 0; i < spec.shape.rank(); ++i) dims.push_back(spec.shape[i]);
      const Quantization q = stored_quantization(spec, stored);
      const bool quantized = q.format != WeightFormat::unquantized;
      if (quantized) dims.back() = stored_row_bytes(q, dims.back());
      if (parts.weight) {
        ++report.tensors;
        const SafetensorsEntry& e = *parts.weight->entry;
        ++report.dtypes[e.format_dtype];
        report.bytes += e.size;
        if (quantized)
          report.parameters += spec.shape.count();
        else if (e.dtype)
          report.parameters += static_cast<Index>(e.size) / size_of(*e.dtype);
        check_part(*parts.weight, dims, quantized);
      } else {
        report.missing.push_back(spec.name);
      }
      if (!parts.lora_a && !parts.lora_b) continue;
      if (quantized) {  // nothing can be merged into it any more
        for (const auto& place : {parts.lora_a, parts.lora_b})
          if (place) report.unused.push_back(place->entry->name);
        continue;
      }
      if (!parts.lora_a || !parts.lora_b) {
        report.missing.push_back(spec.name + (parts.lora_a ? " (lora_B)" : " (lora_A)"));
        continue;
      }
      const auto& a = parts.lora_a->entry->dims;
      const Index rank = a.empty() ? 1 : std::max<Index>(a[0], 1);
      check_part(*parts.lora_a, {rank, dims.back()});
      check_part(*parts.lora_b, {dims.front(), rank});
      ++report.lora_layers;
      report.lora_rank = std::max(report.lora_rank, rank);
    }
    for (const auto& [name, parts] : parts_) {
      if (known.contains(name)) continue;
      for (const auto& place : {parts.weight, parts.lora_a, parts.lora_b})
        if (place) report.unused.push_back(place->entry->name);
    }
    report.lora_alpha = report.lora_layers == 0 ? 0 : lora_alpha;
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
    if (q.format != WeightFormat::unquantized) {
      const Shape stored{shape[0], stored_row_bytes(q, shape[1])};
      if (weight.dtype != DType::u8 || weight.shape != stored)
        throw fail("not a quantized matrix", "U8 " + stored.str(),
                   parts.weight->entry->format_dtype + ' ' + weight.shape.str());
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
    if (weight.shape != shape)
      throw fail("tensor has another shape", shape.str(), weight.shape.str());
    if (!is_floating(weight.dtype))
      throw fail("unsupported dtype", "F32, F16 or BF16", parts.weight->entry->format_dtype);
    if (!parts.lora_a || !parts.lora_b || lora_alpha_ == 0) return weight;
    const HostTensor a = read(*parts.lora_a), b = read(*parts.lora_b);
    try {
      const double rank = a.shape.rank() == 2 ? static_cast<double>(a.shape[0]) : 1.0;
      return merge_lora(weight, a, b, static_cast<float>(lora_alpha_ / rank));
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
  HostTensor read(const Place& place) const { return files_[place.file].tensor(place.entry->name); }

  std::vector<SafetensorsFile> files_;  // share their entries, so that pointers to them stay good
  std::map<std::string, Parts> parts_;
  QuantizeOptions stored_;
  double lora_alpha_ = 0;
};

PLLAVA_INLINE Quantization read_quantization(const JsonReader& json) {
  Quantization q;
  const std::string format = json.text("format", "");
  const auto known = {WeightFormat::unquantized, WeightFormat::int8, WeightFormat::int4,
                      WeightFormat::fp8};
  const auto* const named =
      std::ranges::find_if(known, [&](WeightFormat f) { return name_of(f) == format; });
  json.require("format", named != known.end(), "\"unquantized\", \"int8\", \"int4\" or \"fp8\"");
  q.format = *named;
  if (q.format != WeightFormat::int4) return q;
  q.group = json.integer("group", q.group, 32, 128);
  json.require("group", q.group == 32 || q.group == 128, "32 or 128");
  q.zero_points = json.boolean("zero_points", false);
  return q;
}

/// How the matrices of a directory were quantized when it was written.
PLLAVA_INLINE QuantizeOptions stored_formats(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  const nlohmann::json config = read_json_object(path);
  const JsonReader json(config, path.string());
  if (json.find(kFormatsKey) == nullptr) return {};
  const JsonReader formats = json.object(kFormatsKey);
  return {read_quantization(formats.object("vision")),
          read_quantization(formats.object("language"))};
}

}  // namespace detail

PLLAVA_INLINE DType LoadReport::dtype() const noexcept {
  const auto f32 = dtypes.find("F32");
  return f32 != dtypes.end() && 2 * f32->second > tensors ? DType::f32 : DType::bf16;
}

PLLAVA_INLINE std::string LoadReport::str() const {
  std::string text = std::to_string(tensors) + " tensors from " + std::to_string(files.size()) +
                     " file(s), " + std::to_string(ignored) + " ignored\n" +
                     std::to_string(parameters) + " parameters, " + std::to_string(bytes) +
                     " bytes:";
  for (const auto& [dtype, count] : dtypes) text += " " + std::to_string(count) + " " + dtype;
  text += "\n";
  if (lora_layers != 0) {
    std::string alpha = std::to_string(lora_alpha);
    alpha.erase(alpha.find_last_not_of('0') + 1);
    if (alpha.back() == '.') alpha.pop_back();
    text += "LoRA merged into " + std::to_string(lora_layers) + " tensors: rank " +
            std::to_string(lora_rank) + ", alpha " + alpha + "\n";
  }
  const std::pair<const char*, const std::vector<std::string>*> lists[] = {
      {"missing", &missing},
      {"misshapen", &misshapen},
      {"wrong dtype", &wrong_dtype},
      {"unused", &unused}};
  for (const auto& [title, list] : lists)
    if (!list->empty())
      text += std::to_string(list->size()) + " " + title + ": " + detail::joined(*list) + "\n";
  return text;
}

PLLAVA_INLINE Checkpoint Checkpoint::open(const std::filesystem::path& directory,
                                          const LoadOptions& options) {
  if (!std::isfinite(options.lora_alpha) || options.lora_alpha < 0)
    throw ArgumentError("lora_alpha must be finite and not negative");
  if (options.frames && *options.frames < 1) throw ArgumentError("frames must be positive");
  if (options.pool && (options.pool->t < 1 || options.pool->h < 1 || options.pool->w < 1))
    throw ArgumentError("pool must be positive along every axis, got " + options.pool->str());
  require_valid(options.quantize.vision);
  require_valid(options.quantize.language);
  Checkpoint checkpoint;
  std::error_code error;
  const bool own_config = std::filesystem::exists(directory / "config.json", error);
  const auto& home = own_config || options.base.empty() ? directory : options.base;
  checkpoint.config_ = read_model_config(home, options.architectures);
  checkpoint.tensors_ = model_tensors(checkpoint.config_, options.architectures);
  checkpoint.stored_ = detail::stored_formats(home);
  if (checkpoint.stored_.any() && options.quantize.any() && options.quantize != checkpoint.stored_)
    throw ArgumentError(home.string() + ": the weights are quantized already, in another format");
  ModelConfig& config = checkpoint.config_;
  if (options.frames) config.frames = *options.frames;
  if (options.pool) config.pool.output = *options.pool;

  auto source = std::make_shared<detail::CheckpointSource>();
  if (!options.base.empty()) source->add(options.base);
  source->add(directory);
  LoadReport& report = checkpoint.report_;
  source->check(checkpoint.tensors_, checkpoint.stored_, options.lora_alpha, report);
  if (options.strict && !report.clean()) {
    const auto part = [](const char* title, const std::vector<std::string>& list) {
      return list.empty() ? std::string() : std::string(title) + detail::joined(list) + "; ";
    };
    std::string all = part("missing: ", report.missing) + part("misshapen: ", report.misshapen) +
                      part("wrong dtype: ", report.wrong_dtype) + part("unused: ", report.unused);
    all.resize(all.size() - 2);
    throw LoadError(
        "tensors do not match config.json",
        {.file = directory.string(), .tensor = std::move(all), .expected = {}, .got = {}});
  }
  checkpoint.root_ = quantized(WeightScope(std::move(source)),
                               checkpoint.stored_.any() ? checkpoint.stored_ : options.quantize);
  return checkpoint;
}

}  // namespace pllava
