// Small files, raw safetensors bytes and checks of messages, for tests of loading.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pllava/weights/safetensors.hpp"
#include "support/message_of.hpp"
#include "support/temp_directory.hpp"

namespace test {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A safetensors file: header length, header, `data` zero bytes.
inline std::string raw_safetensors(const std::string& header, std::size_t data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>((header.size() >> (8 * i)) & 0xff);
  return bytes + header + std::string(data, '\0');
}

inline pllava::NamedTensor floats(const std::string& name, const pllava::Shape& shape,
                                  std::vector<float> values) {
  auto owner = std::make_shared<std::vector<float>>(std::move(values));
  owner->resize(static_cast<std::size_t>(shape.count()));
  const auto* data = reinterpret_cast<const std::byte*>(owner->data());
  return {name, {pllava::DType::f32, shape, data, owner}};
}

}  // namespace test
