// Bodies of weights/gguf.hpp.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "pllava/weights/detail/gguf_blocks.hpp"
#include "pllava/weights/detail/host_floats.hpp"
#include "pllava/weights/detail/sampled_digest.hpp"
#include "pllava/weights/gguf.hpp"

namespace pllava {

PLLAVA_INLINE std::string name_of(GgufType type) {
  switch (type) {
    case GgufType::f32: return "F32";
    case GgufType::f16: return "F16";
    case GgufType::bf16: return "BF16";
    case GgufType::q4_0: return "Q4_0";
    case GgufType::q4_1: return "Q4_1";
    case GgufType::q5_0: return "Q5_0";
    case GgufType::q5_1: return "Q5_1";
    case GgufType::q8_0: return "Q8_0";
    case GgufType::q4_k: return "Q4_K";
    case GgufType::q5_k: return "Q5_K";
    case GgufType::q6_k: return "Q6_K";
  }
  return "type " + std::to_string(static_cast<std::uint32_t>(type));
}

namespace detail {

/// Reads the header of a file. Lengths are compared with the rest of the file before memory is
/// taken for them.
class GgufReader {
 public:
  explicit GgufReader(const MappedFile& file) : path_(file.path()), bytes_(file.bytes()) {}

  GgufFile::Contents read() {
    if (bytes_.size() < 4 || std::memcmp(bytes_.data(), "GGUF", 4) != 0)
      throw error("not a GGUF file", {}, R"(the magic "GGUF")", {});
    at_ = 4;
    const auto version = number<std::uint32_t>();
    if (version != 2 && version != 3)
      throw error("unsupported version of GGUF", {}, "2 or 3", std::to_string(version));
    const auto tensors = number<std::uint64_t>(), keys = number<std::uint64_t>();
    GgufFile::Contents contents;
    for (std::uint64_t i = 0; i < keys; ++i) {
      std::string key = string();
      where_ = key;
      GgufValue value = read_value(number<std::uint32_t>());
      if (!contents.metadata.emplace(key, std::move(value)).second)
        throw error("a key occurs twice", key, {}, {});
    }
    where_.clear();
    for (std::uint64_t i = 0; i < tensors; ++i) read_entry(contents);
    place_entries(contents);
    return contents;
  }

 private:
  enum ValueType : std::uint32_t {
    u8,
    i8,
    u16,
    i16,
    u32,
    i32,
    f32,
    boolean,
    text,
    array,
    u64,
    i64,
    f64
  };

  LoadError error(const std::string& problem, std::string where, std::string expected,
                  std::string got) const {
    return {problem,
            {.file = path_,
             .tensor = std::move(where),
             .expected = std::move(expected),
             .got = std::move(got)}};
  }

  const std::byte* take(std::uint64_t size) {
    if (size > bytes_.size() - at_)
      throw error("the file is cut", where_,
                  std::to_string(size) + " bytes at offset " + std::to_string(at_), "its end");
    const std::byte* const data = bytes_.data() + at_;
    at_ += static_cast<std::size_t>(size);
    return data;
  }

  template <class T>
  T number() {
    T value{};
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }

  std::string string() {
    const auto size = number<std::uint64_t>();
    return {reinterpret_cast<const char*>(take(size)), static_cast<std::size_t>(size)};
  }

  bool read_bool() {
    const auto byte = number<std::uint8_t>();
    if (byte > 1) throw error("not a Boolean value", where_, "0 or 1", std::to_string(byte));
    return byte == 1;
  }

  GgufValue read_value(std::uint32_t type) {
    switch (type) {
      case u8: return std::uint64_t{number<std::uint8_t>()};
      case u16: return std::uint64_t{number<std::uint16_t>()};
      case u32: return std::uint64_t{number<std::uint32_t>()};
      case u64: return number<std::uint64_t>();
      case i8: return std::int64_t{number<std::int8_t>()};
      case i16: return std::int64_t{number<std::int16_t>()};
      case i32: return std::int64_t{number<std::int32_t>()};
      case i64: return number<std::int64_t>();
      case f32: return double{number<float>()};
      case f64: return number<double>();
      case boolean: return read_bool();
      case text: return string();
      case array: return read_array();
      default: throw error("unknown type of a value", where_, "0 to 12", std::to_string(type));
    }
  }

  /// `read` reads one element, which takes at least `size` bytes.
  template <class T, class Read>
  std::vector<T> elements(std::uint64_t count, std::size_t size, const Read& read) {
    if (count > (bytes_.size() - at_) / size)
      throw error("the file is cut", where_, std::to_string(count) + " elements", "its end");
    std::vector<T> list;
    list.reserve(static_cast<std::size_t>(count));
    for (std::uint64_t i = 0; i < count; ++i) list.push_back(read());
    return list;
  }

  GgufValue read_array() {
    const auto type = number<std::uint32_t>();
    const auto count = number<std::uint64_t>();
    const auto unsigned_numbers = [&]<class T>(T) {
      return elements<std::uint64_t>(count, sizeof(T), [&] { return std::uint64_t{number<T>()}; });
    };
    const auto signed_numbers = [&]<class T>(T) {
      return elements<std::int64_t>(count, sizeof(T), [&] { return std::int64_t{number<T>()}; });
    };
    switch (type) {
      case u8: return unsigned_numbers(std::uint8_t{});
      case u16: return unsigned_numbers(std::uint16_t{});
      case u32: return unsigned_numbers(std::uint32_t{});
      case u64: return unsigned_numbers(std::uint64_t{});
      case i8: return signed_numbers(std::int8_t{});
      case i16: return signed_numbers(std::int16_t{});
      case i32: return signed_numbers(std::int32_t{});
      case i64: return signed_numbers(std::int64_t{});
      case f32: return elements<double>(count, 4, [&] { return double{number<float>()}; });
      case f64: return elements<double>(count, 8, [&] { return number<double>(); });
      case boolean: return elements<bool>(count, 1, [&] { return read_bool(); });
      case text: return elements<std::string>(count, 8, [&] { return string(); });
      default:
        throw error("unknown type of an array", where_, "numbers, Booleans or strings",
                    std::to_string(type));
    }
  }

  void read_entry(GgufFile::Contents& contents) {
    GgufEntry entry;
    entry.name = string();
    where_ = entry.name;
    const auto rank = number<std::uint32_t>();
    if (rank < 1 || rank > Shape::kMaxRank)
      throw error("unsupported number of dimensions", where_, "1 to 4", std::to_string(rank));
    Index count = 1;
    for (std::uint32_t i = 0; i < rank; ++i) {
      const auto dim = number<std::uint64_t>();
      if (dim < 1 || dim > static_cast<std::uint64_t>(kMaxCount))
        throw error("a dimension is out of range", where_, "at least 1", std::to_string(dim));
      entry.dims.insert(entry.dims.begin(), static_cast<Index>(dim));
      count = saturated_product(count, static_cast<Index>(dim));
    }
    entry.type = static_cast<GgufType>(number<std::uint32_t>());
    entry.offset = static_cast<std::size_t>(number<std::uint64_t>());
    const GgufBlock block = block_of(entry.type);
    if (block.elements != 0) {
      if (entry.dims.back() % static_cast<Index>(block.elements) != 0)
        throw error(
            "a row does not fill its blocks", where_,
            "a multiple of " + std::to_string(block.elements) + " for " + name_of(entry.type),
            std::to_string(entry.dims.back()));
      if (count == kMaxCount) throw error("the tensor is too large", where_, {}, {});
      entry.size = static_cast<std::size_t>(count) / block.elements * block.bytes;
    }
    if (!contents.by_name.emplace(entry.name, contents.entries.size()).second)
      throw error("a tensor occurs twice", where_, {}, {});
    contents.entries.push_back(std::move(entry));
  }

  /// Turns offsets into those from the start of the file, and checks that the tensors lie in it.
  void place_entries(GgufFile::Contents& contents) {
    constexpr std::uint64_t kDefaultAlignment = 32, kLeast = 8, kMost = 1 << 20;
    std::uint64_t alignment = kDefaultAlignment;
    if (const auto found = contents.metadata.find("general.alignment");
        found != contents.metadata.end()) {
      const auto* value = std::get_if<std::uint64_t>(&found->second);
      if (value == nullptr || *value < kLeast || *value > kMost || (*value & (*value - 1)) != 0)
        throw error("invalid alignment", "general.alignment", "a power of two from 8 to 2^20", {});
      alignment = *value;
    }
    const std::size_t begin = (at_ + alignment - 1) / alignment * alignment;
    std::vector<GgufEntry*> by_offset;
    for (GgufEntry& entry : contents.entries) {
      if (begin > bytes_.size() || entry.offset > bytes_.size() - begin ||
          entry.size > bytes_.size() - begin - entry.offset)
        throw error("the file is cut", entry.name,
                    std::to_string(entry.size) + " bytes at offset " +
                        std::to_string(entry.offset) + " of the data",
                    "its end");
      if (entry.offset % alignment != 0)
        throw error("the tensor is not aligned", entry.name, std::to_string(alignment),
                    std::to_string(entry.offset));
      entry.offset += begin;
      by_offset.push_back(&entry);
    }
    std::sort(by_offset.begin(), by_offset.end(),
              [](const GgufEntry* a, const GgufEntry* b) { return a->offset < b->offset; });
    for (std::size_t i = 1; i < by_offset.size(); ++i)
      if (by_offset[i]->offset < by_offset[i - 1]->offset + by_offset[i - 1]->size)
        throw error("two tensors overlap", by_offset[i]->name, {}, by_offset[i - 1]->name);
  }

  const std::string path_;
  const std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  std::string where_;  // key or tensor that is read, for messages
};

}  // namespace detail

PLLAVA_INLINE GgufFile GgufFile::open(const std::filesystem::path& path) {
  auto file = MappedFile::open(path);
  auto contents = std::make_shared<const Contents>(detail::GgufReader(*file).read());
  return GgufFile(std::move(file), std::move(contents));
}

PLLAVA_INLINE const GgufValue& GgufFile::value(std::string_view key) const {
  const auto found = metadata().find(key);
  if (found == metadata().end()) throw error("the metadata lack a key", key, {}, {});
  return found->second;
}

PLLAVA_INLINE const GgufEntry* GgufFile::find(std::string_view name) const noexcept {
  const auto found = contents_->by_name.find(name);
  return found == contents_->by_name.end() ? nullptr : &contents_->entries[found->second];
}

PLLAVA_INLINE std::uint64_t GgufFile::sampled_digest() const {
  return detail::sampled_digest(file_->bytes(), entries());
}

PLLAVA_INLINE HostTensor GgufFile::tensor(std::string_view name) const {
  const GgufEntry* const e = find(name);
  if (e == nullptr) throw error("no such tensor", name, {}, {});
  const detail::GgufBlock block = detail::block_of(e->type);
  if (block.elements == 0)
    throw error("unsupported type of a tensor", name,
                "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K",
                name_of(e->type));
  HostTensor tensor;
  tensor.name = e->name;
  const auto& d = e->dims;
  switch (d.size()) {
    case 1: tensor.shape = {d[0]}; break;
    case 2: tensor.shape = {d[0], d[1]}; break;
    case 3: tensor.shape = {d[0], d[1], d[2]}; break;
    default: tensor.shape = {d[0], d[1], d[2], d[3]}; break;
  }
  const std::byte* const data = file_->bytes().data() + e->offset;
  if (block.elements == 1) {
    tensor.dtype = e->type == GgufType::f32   ? DType::f32
                   : e->type == GgufType::f16 ? DType::f16
                                              : DType::bf16;
    tensor.data = data;
    tensor.owner =
        std::shared_ptr<const void>(data, [file = file_, offset = e->offset, size = e->size](
                                              const void*) { file->release(offset, size); });
    return tensor;
  }
  const Index count = tensor.shape.count();
  const auto floats = detail::float_buffer(count, "a dequantized tensor");
  const auto* stored = reinterpret_cast<const std::uint8_t*>(data);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); i += block.elements)
    detail::dequantize_block(e->type, stored + i / block.elements * block.bytes, floats.get() + i);
  file_->release(e->offset, e->size);
  tensor.dtype = DType::f32;
  tensor.data = reinterpret_cast<const std::byte*>(floats.get());
  tensor.owner = floats;
  return tensor;
}

PLLAVA_INLINE bool is_gguf(const std::filesystem::path& model) {
  std::error_code error;
  if (model.extension() == ".gguf") return !std::filesystem::is_directory(model, error);
  if (!std::filesystem::is_regular_file(model, error)) return false;  // a named pipe would wait
  std::string head(4, '\0');
  std::ifstream file(model, std::ios::binary);
  return file.read(head.data(), static_cast<std::streamsize>(head.size())) && head == "GGUF";
}

}  // namespace pllava
