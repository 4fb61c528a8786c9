// Bodies of safetensors_writer.hpp, and of write_safetensors in weights/safetensors.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "pllava/error.hpp"
#include "pllava/io/detail/json_document.hpp"
#include "pllava/io/detail/output_file.hpp"
#include "pllava/weights/detail/safetensors_format.hpp"
#include "pllava/weights/detail/safetensors_writer.hpp"
#include "pllava/weights/safetensors.hpp"

namespace pllava {
namespace detail {

/// The JSON header of a file with `tensors` in this order, padded so that the data begin at a
/// multiple of 8.
PLLAVA_INLINE std::string safetensors_header(const std::vector<TensorToWrite>& tensors,
                                             const std::map<std::string, std::string>& metadata) {
  std::set<std::string_view> names;
  JsonDocument document;
  nlohmann::json& header = document.root;
  header = nlohmann::json::object();
  if (!metadata.empty()) assign(header[kMetadataKey], metadata);
  Index offset = 0;
  for (const TensorToWrite& t : tensors) {
    if (t.name == kMetadataKey || !names.insert(t.name).second)
      throw ArgumentError("write_safetensors: tensor name \"" + t.name + "\" is " +
                          (t.name == kMetadataKey ? "reserved" : "used twice"));
    std::vector<Index> dims;
    dims.reserve(Shape::kMaxRank);
    for (int i = 0; i < t.shape.rank(); ++i) dims.push_back(t.shape[i]);
    const Index end = offset + t.shape.count() * size_of(t.dtype);
    nlohmann::json& entry = header[t.name];
    entry["dtype"] = format_name_of(t.dtype);
    assign(entry["shape"], dims);
    assign(entry["data_offsets"], std::vector{offset, end});
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& e) {
    throw ArgumentError(std::string("write_safetensors: names must be UTF-8: ") + e.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

PLLAVA_INLINE void write_safetensors(const std::filesystem::path& path,
                                     std::vector<TensorToWrite> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorToWrite& a, const TensorToWrite& b) {
    const Index sa = size_of(a.dtype), sb = size_of(b.dtype);
    return sa != sb ? sa > sb : a.name < b.name;
  });
  const std::string header = safetensors_header(tensors, metadata);
  const std::uint64_t length = header.size();
  OutputFile file(path);
  file.write(&length, sizeof length);
  file.write(header.data(), header.size());
  for (const TensorToWrite& t : tensors) {
    const HostTensor tensor = t.data();
    file.write(tensor.data, static_cast<std::size_t>(t.shape.count() * size_of(t.dtype)));
  }
  file.commit();
}

}  // namespace detail

PLLAVA_INLINE void write_safetensors(const std::filesystem::path& path,
                                     std::span<const NamedTensor> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  std::vector<detail::TensorToWrite> list;
  for (const NamedTensor& t : tensors)
    list.push_back({t.name, t.tensor.dtype, t.tensor.shape, [&t] { return t.tensor; }});
  detail::write_safetensors(path, std::move(list), metadata);
}

}  // namespace pllava
