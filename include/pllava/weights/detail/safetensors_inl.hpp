// Bodies of io/safetensors.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <numeric>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "pllava/error.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/output_file.hpp"
#include "pllava/io/digest.hpp"
#include "pllava/weights/detail/safetensors_writer.hpp"
#include "pllava/weights/safetensors.hpp"

namespace pllava {
namespace detail {

static_assert(std::endian::native == std::endian::little, "safetensors data are little-endian");

constexpr std::size_t kHeaderLimit = kMaxJsonBytes;  // of the format's reference reader
constexpr std::size_t kLengthBytes = 8;

struct FormatDType {
  std::string_view name;
  std::size_t size;
  std::optional<DType> dtype;
};

constexpr FormatDType kFormatDTypes[] = {
    {"F32", 4, DType::f32}, {"F16", 2, DType::f16}, {"BF16", 2, DType::bf16},
    {"I32", 4, DType::i32}, {"U8", 1, DType::u8},   {"BOOL", 1, {}},
    {"I8", 1, {}},          {"F8_E5M2", 1, {}},     {"F8_E4M3", 1, {}},
    {"I16", 2, {}},         {"U16", 2, {}},         {"U32", 4, {}},
    {"F64", 8, {}},         {"I64", 8, {}},         {"U64", 8, {}}};

/// Product of dims and element size; empty when it, or a product on the way, does not fit an Index.
PLLAVA_INLINE std::optional<std::size_t> byte_count(const std::vector<Index>& dims,
                                                    std::size_t element) {
  constexpr auto kLimit = static_cast<std::size_t>(std::numeric_limits<Index>::max());
  std::size_t bytes = element;
  for (const Index d : dims) {
    const auto n = static_cast<std::size_t>(d);
    if (n != 0 && bytes > kLimit / n) return std::nullopt;
    bytes *= n;
  }
  return bytes;
}

/// Reads one header entry; offsets stay relative to the data, as in the file.
PLLAVA_INLINE SafetensorsEntry parse_entry(const std::string& file, const std::string& name,
                                           const nlohmann::json& value) {
  const auto fail = [&](const std::string& problem, std::string expected, std::string got) {
    return LoadError(
        problem,
        {.file = file, .tensor = name, .expected = std::move(expected), .got = std::move(got)});
  };
  constexpr auto kIndexMax = static_cast<std::uint64_t>(std::numeric_limits<Index>::max());
  const auto unsigned_list = [&](const char* key) {
    std::vector<std::uint64_t> list;
    const auto& member = value.at(key);
    bool good = member.is_array();
    for (std::size_t i = 0; good && i < member.size(); ++i) {
      good = member[i].is_number_unsigned() && member[i].get<std::uint64_t>() <= kIndexMax;
      if (good) list.push_back(member[i].get<std::uint64_t>());
    }
    if (!good)
      throw fail(std::string("\"") + key + "\" is malformed", "an array of non-negative integers",
                 member.dump().substr(0, 80));
    return list;
  };

  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
      !value.contains("shape") || !value.contains("data_offsets") || !value["dtype"].is_string())
    throw fail("header entry is malformed", "an object of dtype, shape and data_offsets",
               value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 80));
  SafetensorsEntry entry;
  entry.name = name;
  entry.format_dtype = value["dtype"].get<std::string>();
  const auto* type =
      std::find_if(std::begin(kFormatDTypes), std::end(kFormatDTypes),
                   [&](const FormatDType& t) { return t.name == entry.format_dtype; });
  if (type == std::end(kFormatDTypes))
    throw fail("unknown dtype", "a dtype of the safetensors format", entry.format_dtype);
  entry.dtype = type->dtype;
  for (const std::uint64_t d : unsigned_list("shape")) entry.dims.push_back(static_cast<Index>(d));
  const auto offsets = unsigned_list("data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    throw fail("\"data_offsets\" is malformed", "[begin, end] with begin <= end",
               value["data_offsets"].dump().substr(0, 80));
  entry.offset = offsets[0];
  entry.size = offsets[1] - offsets[0];
  const auto bytes = byte_count(entry.dims, type->size);
  if (!bytes) throw fail("shape overflows", "a size that fits memory", dims_str(entry.dims));
  if (*bytes != entry.size)
    throw fail(
        "shape and data_offsets disagree",
        std::to_string(*bytes) + " bytes for " + entry.format_dtype + " " + dims_str(entry.dims),
        std::to_string(entry.size) + " bytes");
  return entry;
}

PLLAVA_INLINE void write_safetensors(const std::filesystem::path& path,
                                     std::vector<TensorToWrite> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorToWrite& a, const TensorToWrite& b) {
    const Index sa = size_of(a.dtype), sb = size_of(b.dtype);
    return sa != sb ? sa > sb : a.name < b.name;
  });
  std::set<std::string_view> names;
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  Index offset = 0;
  for (const TensorToWrite& t : tensors) {
    if (t.name == "__metadata__" || !names.insert(t.name).second)
      throw ArgumentError("write_safetensors: tensor name \"" + t.name + "\" is " +
                          (t.name == "__metadata__" ? "reserved" : "used twice"));
    const auto* type = std::find_if(std::begin(kFormatDTypes), std::end(kFormatDTypes),
                                    [&](const FormatDType& f) { return f.dtype == t.dtype; });
    std::vector<Index> dims;
    dims.reserve(Shape::kMaxRank);
    for (int i = 0; i < t.shape.rank(); ++i) dims.push_back(t.shape[i]);
    const Index end = offset + t.shape.count() * size_of(t.dtype);
    header[t.name] = {
        {"dtype", type->name}, {"shape", dims}, {"data_offsets", std::vector<Index>{offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& e) {
    throw ArgumentError(std::string("write_safetensors: names must be UTF-8: ") + e.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');  // data begin on a multiple of 8
  const std::uint64_t length = text.size();
  OutputFile file(path);
  file.write(&length, sizeof length);
  file.write(text.data(), text.size());
  for (const TensorToWrite& t : tensors) {
    const HostTensor tensor = t.data();
    file.write(tensor.data, static_cast<std::size_t>(t.shape.count() * size_of(t.dtype)));
  }
  file.commit();
}

}  // namespace detail

PLLAVA_INLINE SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  const auto fail = [&](const std::string& problem, std::string tensor, std::string expected,
                        std::string got) {
    return LoadError(problem, {.file = file->path(),
                               .tensor = std::move(tensor),
                               .expected = std::move(expected),
                               .got = std::move(got)});
  };
  if (bytes.size() < detail::kLengthBytes)
    throw fail("truncated safetensors file", {}, "8 bytes of header length",
               std::to_string(bytes.size()) + " bytes");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > detail::kHeaderLimit)
    throw fail("safetensors header is too long", {}, "at most 100000000 bytes",
               std::to_string(length));
  const std::size_t data_begin = detail::kLengthBytes + length;
  if (data_begin > bytes.size())
    throw fail("truncated safetensors file", {}, "a header of " + std::to_string(length) + " bytes",
               std::to_string(bytes.size() - detail::kLengthBytes) + " bytes");
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + detail::kLengthBytes;
  if (length == 0 || *text != '{')
    throw fail("not a safetensors file", {}, "a header that begins with '{'", {});
  const nlohmann::json header = detail::parse_json_object(text, text + length, file->path());

  auto contents = std::make_shared<Contents>();
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      contents->entries.push_back(detail::parse_entry(file->path(), name, value));
      continue;
    }
    if (!value.is_object()) throw fail("malformed metadata", name, "a map of strings", {});
    for (const auto& [key, item] : value.items()) {
      if (!item.is_string()) throw fail("malformed metadata", key, "a string", item.type_name());
      contents->metadata.emplace(key, item.get<std::string>());
    }
  }
  auto& entries = contents->entries;
  std::sort(entries.begin(), entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::pair(a.offset, a.size) < std::pair(b.offset, b.size);
            });
  const std::size_t data_size = bytes.size() - data_begin;
  std::size_t end = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    SafetensorsEntry& e = entries[i];
    if (e.offset != end)
      throw fail(e.offset < end ? "tensors overlap" : "hole between tensors", e.name,
                 "data at offset " + std::to_string(end), std::to_string(e.offset));
    end = e.offset + e.size;  // fits: both are at most 2^63-1
    if (end > data_size)
      throw fail("truncated safetensors file", e.name, "data up to offset " + std::to_string(end),
                 std::to_string(data_size) + " bytes");
    e.offset += data_begin;
    contents->by_name.emplace(e.name, i);
  }
  if (end != data_size)
    throw fail("bytes that belong to no tensor", {}, std::to_string(end) + " bytes of data",
               std::to_string(data_size));
  return SafetensorsFile(std::move(file), std::move(contents));
}

PLLAVA_INLINE const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const noexcept {
  const auto found = contents_->by_name.find(name);
  return found == contents_->by_name.end() ? nullptr : &contents_->entries[found->second];
}

PLLAVA_INLINE std::uint64_t SafetensorsFile::sampled_digest() const {
  constexpr std::size_t kSample = 4096;
  const auto bytes = file_->bytes();
  const std::size_t data_begin = entries().empty() ? bytes.size() : entries().front().offset;
  Digest digest;
  digest.add(std::to_string(bytes.size())).add(bytes.first(data_begin));
  for (const SafetensorsEntry& e : entries()) {
    const auto tensor = bytes.subspan(e.offset, e.size);
    const std::size_t sample = std::min(kSample, e.size), last = e.size - sample;
    for (const std::size_t begin : {std::size_t{0}, last / 2, last})
      digest.add(tensor.subspan(begin, sample));
  }
  return digest.value();
}

PLLAVA_INLINE HostTensor SafetensorsFile::tensor(std::string_view name) const {
  const auto fail = [&](const char* problem, std::string expected, std::string got) {
    return LoadError(problem, {.file = path(),
                               .tensor = std::string(name),
                               .expected = std::move(expected),
                               .got = std::move(got)});
  };
  const SafetensorsEntry* e = find(name);
  if (e == nullptr) throw fail("no such tensor", {}, {});
  if (!e->dtype) throw fail("unsupported dtype", "F32, F16, BF16, I32 or U8", e->format_dtype);
  const auto& d = e->dims;
  HostTensor tensor;
  tensor.dtype = *e->dtype;
  switch (d.size()) {
    case 0: break;
    case 1: tensor.shape = {d[0]}; break;
    case 2: tensor.shape = {d[0], d[1]}; break;
    case 3: tensor.shape = {d[0], d[1], d[2]}; break;
    case 4: tensor.shape = {d[0], d[1], d[2], d[3]}; break;
    default: throw fail("unsupported rank", "at most 4 dimensions", detail::dims_str(d));
  }
  const std::byte* data = file_->bytes().data() + e->offset;
  const auto element = static_cast<std::size_t>(size_of(tensor.dtype));
  if (reinterpret_cast<std::uintptr_t>(data) % element != 0) {  // unpadded header: copy to align
    try {
      auto copy = std::make_shared<std::vector<std::byte>>(data, data + e->size);
      tensor.data = copy->data();
      tensor.owner = std::move(copy);
    } catch (const std::bad_alloc&) {
      throw OutOfMemoryError("tensor " + e->name, e->size);
    }
    return tensor;
  }
  tensor.data = data;
  tensor.owner =
      std::shared_ptr<const void>(data, [file = file_, offset = e->offset, size = e->size](
                                            const void*) { file->release(offset, size); });
  return tensor;
}

PLLAVA_INLINE void write_safetensors(const std::filesystem::path& path,
                                     std::span<const NamedTensor> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  std::vector<detail::TensorToWrite> list;
  for (const NamedTensor& t : tensors)
    list.push_back({t.name, t.tensor.dtype, t.tensor.shape, [&t] { return t.tensor; }});
  detail::write_safetensors(path, std::move(list), metadata);
}

}  // namespace pllava
