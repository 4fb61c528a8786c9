// Typed access to one JSON object of a configuration file.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava::detail {

/// Reads typed members of a JSON object. Every error names the file and the member. A null counts
/// as absent, as in the reference's configuration classes.
class JsonReader {
 public:
  JsonReader(const nlohmann::json& object, std::string file, std::string prefix = {})
      : object_(&object), file_(std::move(file)), prefix_(std::move(prefix)) {}

  const nlohmann::json* find(const char* key) const {
    const auto found = object_->find(key);
    return found == object_->end() || found->is_null() ? nullptr : &*found;
  }

  /// Whether the member exists, even as null.
  bool has(const char* key) const { return object_->contains(key); }

  JsonReader object(const char* key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr || !value->is_object()) throw error(key, "an object", value);
    return {*value, file_, prefix_ + key + "."};
  }

  Index integer(const char* key, Index fallback, Index low, Index high) const {
    const nlohmann::json* value = find(key);
    return value == nullptr ? fallback : checked_integer(*value, key, low, high);
  }

  /// A positive dimension. The limit excludes overflow in products of dimensions.
  Index size(const char* key, Index fallback) const {
    return integer(key, fallback, 1, Index{1} << 24);
  }

  double number(const char* key, double fallback) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return fallback;
    const double number = value->is_number() ? value->get<double>() : 0.0;
    if (!(number > 0.0) || !std::isfinite(number)) throw error(key, "a positive number", value);
    return number;
  }

  bool boolean(const char* key, bool fallback) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) throw error(key, "true or false", value);
    return value->get<bool>();
  }

  std::string text(const char* key, const char* fallback) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) throw error(key, "a string", value);
    return value->get<std::string>();
  }

  std::vector<Index> integers(const char* key, std::size_t count, Index low, Index high) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_array() || value->empty() || (count != 0 && value->size() != count))
      throw error(key, count == 0 ? "a list of integers" : std::to_string(count) + " integers",
                  value);
    std::vector<Index> list;
    for (const auto& item : *value) list.push_back(checked_integer(item, key, low, high));
    return list;
  }

  /// Rejects a value that selects a computation this library does not support.
  void require(const char* key, bool supported, const std::string& expected) const {
    if (!supported) throw error(key, expected, find(key));
  }

  /// The error for an unexpected member; `got` is null if it is absent.
  LoadError error(const char* key, std::string expected, const nlohmann::json* got) const {
    return {"unsupported or malformed configuration",
            {.file = file_,
             .tensor = prefix_ + key,
             .expected = std::move(expected),
             .got = got == nullptr ? "nothing" : got->dump().substr(0, 80)}};
  }

 private:
  Index checked_integer(const nlohmann::json& value, const char* key, Index low, Index high) const {
    const bool fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() ||
                       value.get<std::uint64_t>() <=
                           static_cast<std::uint64_t>(std::numeric_limits<Index>::max()));
    const Index n = fits ? value.get<Index>() : 0;
    if (!fits || n < low || n > high)
      throw error(key, "an integer from " + std::to_string(low) + " to " + std::to_string(high),
                  &value);
    return n;
  }

  const nlohmann::json* object_;
  std::string file_;
  std::string prefix_;
};

}  // namespace pllava::detail
