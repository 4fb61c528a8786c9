// A GGUF file in memory that a test may change before it writes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "pllava/weights/gguf.hpp"

namespace test {

struct GgufDraft {
  struct Tensor {
    std::string name;
    std::vector<pllava::Index> dims;  // slowest first
    pllava::GgufType type;
    std::string bytes;
  };
  std::map<std::string, pllava::GgufValue> metadata;
  std::vector<Tensor> tensors;

  explicit GgufDraft(const std::filesystem::path& path) {
    const pllava::GgufFile file = pllava::GgufFile::open(path);
    std::ifstream in(path, std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(in), {}};
    for (const auto& [key, value] : file.metadata()) metadata.emplace(key, value);
    for (const pllava::GgufEntry& e : file.entries())
      tensors.push_back({e.name, e.dims, e.type, whole.substr(e.offset, e.size)});
  }

  Tensor& tensor(const std::string& name) {
    for (Tensor& t : tensors)
      if (t.name == name) return t;
    throw std::runtime_error("no tensor " + name);
  }

  /// The file, with all numbers of the metadata in 64 bits.
  std::string bytes() const {
    std::string out = "GGUF", data;
    number(out, std::uint32_t{3});
    number(out, std::uint64_t{tensors.size()});
    number(out, std::uint64_t{metadata.size()});
    for (const auto& [key, value] : metadata) {
      string(out, key);
      std::visit([&](const auto& v) { write(out, v); }, value);
    }
    for (const Tensor& t : tensors) {
      string(out, t.name);
      number(out, static_cast<std::uint32_t>(t.dims.size()));
      for (auto dim = t.dims.rbegin(); dim != t.dims.rend(); ++dim)
        number(out, static_cast<std::uint64_t>(*dim));
      number(out, static_cast<std::uint32_t>(t.type));
      number(out, std::uint64_t{data.size()});
      data += t.bytes;
      data.resize((data.size() + 31) / 32 * 32);
    }
    out.resize((out.size() + 31) / 32 * 32);
    return out + data;
  }

 private:
  template <class T>
  static void number(std::string& out, T value) {
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    out.append(raw, sizeof raw);
  }
  static void string(std::string& out, const std::string& text) {
    number(out, std::uint64_t{text.size()});
    out += text;
  }
  template <class T>
  static std::uint32_t type_of() {
    if constexpr (std::is_same_v<T, std::uint64_t>) return 10;
    if constexpr (std::is_same_v<T, std::int64_t>) return 11;
    if constexpr (std::is_same_v<T, double>) return 12;
    if constexpr (std::is_same_v<T, bool>) return 7;
    return 8;
  }
  template <class T>
  static void element(std::string& out, const T& value) {
    if constexpr (std::is_same_v<T, std::string>)
      string(out, value);
    else if constexpr (std::is_same_v<T, bool>)
      number(out, static_cast<std::uint8_t>(value));
    else
      number(out, value);
  }
  template <class T>
  static void write(std::string& out, const T& value) {
    number(out, type_of<T>());
    element(out, value);
  }
  template <class T>
  static void write(std::string& out, const std::vector<T>& list) {
    number(out, std::uint32_t{9});
    number(out, type_of<T>());
    number(out, std::uint64_t{list.size()});
    for (const T& value : list) element(out, value);
  }
};

}  // namespace test
