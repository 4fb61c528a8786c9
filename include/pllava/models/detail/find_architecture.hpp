// Choice of an architecture by model_type.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "pllava/models/architecture.hpp"

namespace pllava::detail {

/// The architecture that accepts `model_type`, or nullptr.
inline const ArchitectureInfo* find_architecture(std::span<const ArchitectureInfo> architectures,
                                                 std::string_view model_type) {
  for (const ArchitectureInfo& info : architectures)
    if (info.accepts(model_type)) return &info;
  return nullptr;
}

inline std::string accepted_model_types(std::span<const ArchitectureInfo> architectures) {
  std::string text;
  for (const ArchitectureInfo& info : architectures)
    text += (text.empty() ? "" : "; ") + std::string(info.model_types);
  return text;
}

}  // namespace pllava::detail
