// Bodies of weights/safetensors.hpp, except the writer.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/error.hpp"
#include "pllava/io/detail/stand_in.hpp"
#include "pllava/weights/detail/dims_str.hpp"
#include "pllava/weights/detail/safetensors_header.hpp"
#include "pllava/weights/detail/sampled_digest.hpp"
#include "pllava/weights/safetensors.hpp"

namespace pllava {

PLLAVA_INLINE SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  detail::refuse_stand_in(
      std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), file->path());
  detail::SafetensorsHeader header =
      detail::SafetensorsHeaderReader(file->path(), file->bytes()).read();
  auto contents = std::make_shared<Contents>();
  contents->entries = std::move(header.entries);
  contents->metadata = std::move(header.metadata);
  for (std::size_t i = 0; i < contents->entries.size(); ++i)
    contents->by_name.emplace(contents->entries[i].name, i);
  return SafetensorsFile(std::move(file), std::move(contents));
}

PLLAVA_INLINE const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const noexcept {
  const auto found = contents_->by_name.find(name);
  return found == contents_->by_name.end() ? nullptr : &contents_->entries[found->second];
}

PLLAVA_INLINE std::uint64_t SafetensorsFile::sampled_digest() const {
  return detail::sampled_digest(file_->bytes(), entries());
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
  static_assert(Shape::kMaxRank == 4);
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
  if (reinterpret_cast<std::uintptr_t>(data) % element != 0) {  // unaligned data: copy
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

}  // namespace pllava
