// Constants and dtypes of the safetensors format.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <optional>
#include <string_view>

#include "pllava/core/dtype.hpp"
#include "pllava/io/detail/json_file.hpp"

namespace pllava::detail {

static_assert(std::endian::native == std::endian::little, "safetensors data are little-endian");

// layout: header length (8 bytes) | header (JSON) | data
inline constexpr std::size_t kHeaderLengthBytes = 8;
inline constexpr std::size_t kMaxHeaderBytes = kMaxJsonBytes;  // of the format's reference reader
inline constexpr const char* kMetadataKey = "__metadata__";

struct FormatDType {
  std::string_view name;
  std::size_t size;            // bytes of an element
  std::optional<DType> dtype;  // absent: unsupported by the library
};

inline constexpr std::array<FormatDType, 15> kFormatDTypes = {{{"F32", 4, DType::f32},
                                                               {"F16", 2, DType::f16},
                                                               {"BF16", 2, DType::bf16},
                                                               {"I32", 4, DType::i32},
                                                               {"U8", 1, DType::u8},
                                                               {"BOOL", 1, {}},
                                                               {"I8", 1, {}},
                                                               {"F8_E5M2", 1, {}},
                                                               {"F8_E4M3", 1, {}},
                                                               {"I16", 2, {}},
                                                               {"U16", 2, {}},
                                                               {"U32", 4, {}},
                                                               {"F64", 8, {}},
                                                               {"I64", 8, {}},
                                                               {"U64", 8, {}}}};

/// The dtype of this name in a file, or nullptr.
inline const FormatDType* find_format_dtype(std::string_view name) noexcept {
  const auto* found = std::find_if(kFormatDTypes.begin(), kFormatDTypes.end(),
                                   [&](const FormatDType& f) { return f.name == name; });
  return found == kFormatDTypes.end() ? nullptr : found;
}

/// The name of `dtype` in a file.
inline std::string_view format_name_of(DType dtype) noexcept {
  return std::find_if(kFormatDTypes.begin(), kFormatDTypes.end(),
                      [&](const FormatDType& f) { return f.dtype == dtype; })
      ->name;
}

}  // namespace pllava::detail
