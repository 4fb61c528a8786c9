// Reads and checks the header of a safetensors file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/error.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/weights/detail/dims_str.hpp"
#include "pllava/weights/detail/safetensors_format.hpp"
#include "pllava/weights/safetensors.hpp"

namespace pllava::detail {

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // by offset
  std::map<std::string, std::string> metadata;
};

/// Reads the header of one file. Every error names the file.
class SafetensorsHeaderReader {
 public:
  SafetensorsHeaderReader(std::string file, std::span<const std::byte> bytes)
      : file_(std::move(file)), bytes_(bytes) {}

  /// Throws LoadError, see SafetensorsFile::open.
  SafetensorsHeader read() const {
    const std::size_t length = header_length();
    const auto* text = reinterpret_cast<const char*>(bytes_.data()) + kHeaderLengthBytes;
    if (length == 0 || *text != '{')
      throw error("not a safetensors file", {}, "a header that begins with '{'", {});
    const JsonDocument json = parse_json_object(text, text + length, file_);
    SafetensorsHeader header;
    for (const auto& [name, value] : json.root.items()) {
      if (name == kMetadataKey)
        header.metadata = parse_metadata(name, value);
      else
        header.entries.push_back(parse_entry(name, value));
    }
    std::sort(header.entries.begin(), header.entries.end(),
              [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
                return std::pair(a.offset, a.size) < std::pair(b.offset, b.size);
              });
    const std::size_t data_begin = kHeaderLengthBytes + length;
    check_contiguous(header.entries, bytes_.size() - data_begin);
    for (SafetensorsEntry& entry : header.entries) entry.offset += data_begin;
    return header;
  }

 private:
  LoadError error(const std::string& problem, std::string tensor, std::string expected,
                  std::string got) const {
    return {problem,
            {.file = file_,
             .tensor = std::move(tensor),
             .expected = std::move(expected),
             .got = std::move(got)}};
  }

  /// The beginning of a value, in ASCII, so that it can be cut anywhere.
  static std::string excerpt(const nlohmann::json& value) {
    return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 80);
  }

  std::size_t header_length() const {
    if (bytes_.size() < kHeaderLengthBytes)
      throw error("truncated safetensors file", {}, "8 bytes of header length",
                  std::to_string(bytes_.size()) + " bytes");
    std::uint64_t length = 0;
    static_assert(sizeof length == kHeaderLengthBytes);
    std::memcpy(&length, bytes_.data(), sizeof length);
    if (length > kMaxHeaderBytes)
      throw error("safetensors header is too long", {},
                  "at most " + std::to_string(kMaxHeaderBytes) + " bytes",
                  std::to_string(length) + " bytes");
    if (length > bytes_.size() - kHeaderLengthBytes)
      throw error("truncated safetensors file", {},
                  "a header of " + std::to_string(length) + " bytes",
                  std::to_string(bytes_.size() - kHeaderLengthBytes) + " bytes");
    return length;
  }

  std::map<std::string, std::string> parse_metadata(const std::string& name,
                                                    const nlohmann::json& value) const {
    if (!value.is_object()) throw error("malformed metadata", name, "a map of strings", {});
    std::map<std::string, std::string> metadata;
    for (const auto& [key, item] : value.items()) {
      if (!item.is_string()) throw error("malformed metadata", key, "a string", item.type_name());
      metadata.emplace(key, item.get<std::string>());
    }
    return metadata;
  }

  /// Parses one entry. Its offset is relative to the data, as in the file.
  SafetensorsEntry parse_entry(const std::string& name, const nlohmann::json& value) const {
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
        !value.contains("shape") || !value.contains("data_offsets") || !value["dtype"].is_string())
      throw error("header entry is malformed", name, "an object of dtype, shape and data_offsets",
                  excerpt(value));
    SafetensorsEntry entry;
    entry.name = name;
    entry.format_dtype = value["dtype"].get<std::string>();
    const FormatDType* type = find_format_dtype(entry.format_dtype);
    if (type == nullptr)
      throw error("unknown dtype", name, "a dtype of the safetensors format", entry.format_dtype);
    entry.dtype = type->dtype;
    for (const std::size_t d : parse_list(name, value, "shape"))
      entry.dims.push_back(static_cast<Index>(d));
    const auto offsets = parse_list(name, value, "data_offsets");
    if (offsets.size() != 2 || offsets[0] > offsets[1])
      throw error("\"data_offsets\" is malformed", name, "[begin, end] with begin <= end",
                  excerpt(value["data_offsets"]));
    entry.offset = offsets[0];
    entry.size = offsets[1] - offsets[0];
    const auto bytes = byte_count(entry.dims, type->size);
    if (!bytes) throw error("shape overflows", name, "fewer than 2^63 bytes", dims_str(entry.dims));
    if (*bytes != entry.size)
      throw error(
          "shape and data_offsets disagree", name,
          std::to_string(*bytes) + " bytes for " + entry.format_dtype + " " + dims_str(entry.dims),
          std::to_string(entry.size) + " bytes");
    return entry;
  }

  /// A list of non-negative integers that fit an Index.
  std::vector<std::uint64_t> parse_list(const std::string& name, const nlohmann::json& entry,
                                        const char* key) const {
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<Index>::max());
    const nlohmann::json& member = entry.at(key);
    bool valid = member.is_array();
    std::vector<std::uint64_t> list;
    for (std::size_t i = 0; valid && i < member.size(); ++i) {
      valid = member[i].is_number_unsigned() && member[i].get<std::uint64_t>() <= kMax;
      if (valid) list.push_back(member[i].get<std::uint64_t>());
    }
    if (!valid)
      throw error(std::string("\"") + key + "\" is malformed", name,
                  "an array of non-negative integers", excerpt(member));
    return list;
  }

  /// Product of `dims` and the element size; empty if a partial product does not fit an Index.
  static std::optional<std::size_t> byte_count(const std::vector<Index>& dims,
                                               std::size_t element_size) {
    constexpr auto kMax = static_cast<std::size_t>(std::numeric_limits<Index>::max());
    std::size_t bytes = element_size;
    for (const Index d : dims) {
      const auto n = static_cast<std::size_t>(d);
      if (n != 0 && bytes > kMax / n) return std::nullopt;
      bytes *= n;
    }
    return bytes;
  }

  /// Checks that the sorted entries cover the data exactly.
  void check_contiguous(const std::vector<SafetensorsEntry>& entries, std::size_t data_size) const {
    std::size_t end = 0;
    for (const SafetensorsEntry& e : entries) {
      if (e.offset != end)
        throw error(e.offset < end ? "tensors overlap" : "gap before tensor", e.name,
                    "data at offset " + std::to_string(end), std::to_string(e.offset));
      end = e.offset + e.size;  // no overflow: both are below 2^63
      if (end > data_size)
        throw error("truncated safetensors file", e.name,
                    "data up to offset " + std::to_string(end),
                    std::to_string(data_size) + " bytes");
    }
    if (end != data_size)
      throw error("bytes that belong to no tensor", {}, std::to_string(end) + " bytes of data",
                  std::to_string(data_size) + " bytes");
  }

  std::string file_;
  std::span<const std::byte> bytes_;
};

}  // namespace pllava::detail
