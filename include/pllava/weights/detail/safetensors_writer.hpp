// Writes a safetensors file tensor by tensor, so that only one tensor is in memory at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pllava/core/host_tensor.hpp"

namespace pllava::detail {

/// A tensor to write. `data` is called once, when the tensor is written.
struct TensorToWrite {
  std::string name;
  DType dtype;
  Shape shape;
  std::function<HostTensor()> data;
};

/// Writes a complete file or leaves `path` unchanged. Throws FileError, ArgumentError (a name that
/// is used twice, reserved or not UTF-8), and the errors of `data`.
void write_safetensors(const std::filesystem::path& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace pllava::detail

#ifndef PLLAVA_COMPILED
#include "pllava/weights/detail/safetensors_writer_inl.hpp"
#endif
