// Writing a safetensors file tensor by tensor, so that a large checkpoint is never in memory whole.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pllava/core/host_tensor.hpp"

namespace pllava::detail {

/// One tensor of a file to be written. `data` is called when its turn comes.
struct TensorToWrite {
  std::string name;
  DType dtype;
  Shape shape;
  std::function<HostTensor()> data;
};

/// Writes `path` whole or not at all. Throws FileError, ArgumentError (a name used twice or
/// reserved), and what `data` throws.
void write_safetensors(const std::filesystem::path& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata);

/// "(2, 3)"
inline std::string dims_str(const std::vector<Index>& dims) {
  std::string text = "(";
  for (std::size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + ")";
}

}  // namespace pllava::detail
