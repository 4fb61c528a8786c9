// Typed access to the metadata of a GGUF file. Keys that nobody has read are found.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/error.hpp"
#include "pllava/weights/gguf.hpp"

namespace pllava::detail {

/// Reads values and remembers their keys. Every error names the file and the key.
class GgufKeys {
 public:
  explicit GgufKeys(GgufFile file) : file_(std::move(file)) {}

  const GgufFile& file() const noexcept { return file_; }
  bool has(const std::string& key) const { return file_.has(key); }

  /// Throws LoadError if the key is missing, its value has another type or is not in the range.
  Index integer(const std::string& key, Index low, Index high) {
    const auto value = get<std::int64_t>(key);
    require(key, low <= value && value <= high,
            "a number from " + std::to_string(low) + " to " + std::to_string(high));
    return value;
  }
  Index integer_or(const std::string& key, Index fallback, Index low, Index high) {
    return has(key) ? integer(key, low, high) : fallback;
  }
  /// A positive dimension. The limit excludes overflow in products of dimensions.
  Index size(const std::string& key) { return integer(key, 1, Index{1} << 24); }
  Index size_or(const std::string& key, Index fallback) { return has(key) ? size(key) : fallback; }

  double positive(const std::string& key) {
    const auto value = get<double>(key);
    require(key, std::isfinite(value) && value > 0, "a positive number");
    return value;
  }
  double positive_or(const std::string& key, double fallback) {
    return has(key) ? positive(key) : fallback;
  }
  bool boolean_or(const std::string& key, bool fallback) {
    return has(key) ? get<bool>(key) : fallback;
  }
  std::string text_or(const std::string& key, const std::string& fallback) {
    return has(key) ? get<std::string>(key) : fallback;
  }
  /// An array of integers.
  std::vector<std::int64_t> integers(const std::string& key) {
    read_.insert(key);
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) throw error(key, "an array of integers");
    if (const auto* list = std::get_if<std::vector<std::int64_t>>(&found->second)) return *list;
    const auto* list = std::get_if<std::vector<std::uint64_t>>(&found->second);
    if (list == nullptr) throw error(key, "an array of integers");
    return {list->begin(), list->end()};
  }
  template <class T>
  T get(const std::string& key) {
    read_.insert(key);
    return file_.get<T>(key);
  }

  void require(const std::string& key, bool holds, const std::string& expected) const {
    if (!holds) throw error(key, expected);
  }
  /// For a key that has no effect with some of its values: it has to be absent or one of them.
  template <class T>
  void require_off(const std::string& key, std::initializer_list<T> off) {
    if (!has(key)) return;
    const T value = get<T>(key);
    bool is_off = false;
    for (const T& allowed : off) is_off = is_off || value == allowed;
    if (!is_off) throw LoadError("is not supported", detail_of(key, "a file without it"));
  }
  /// Throws LoadError for a key that starts with `prefix`, was not read and is not `ignored`
  /// after the prefix: it could change the result. "*_id" ignores all that end with "_id".
  void refuse_unread(const std::string& prefix, std::initializer_list<std::string_view> ignored) {
    for (const auto& [key, value] : file_.metadata()) {
      if (!key.starts_with(prefix) || read_.contains(key)) continue;
      bool is_ignored = false;
      for (const std::string_view name : ignored)
        is_ignored = is_ignored || (name.starts_with('*') ? key.ends_with(name.substr(1))
                                                          : key.substr(prefix.size()) == name);
      if (!is_ignored)
        throw LoadError("is not supported", detail_of(key, "a file without this key"));
    }
  }

  LoadError error(const std::string& key, std::string expected) const {
    return {"unsupported metadata", detail_of(key, std::move(expected))};
  }

 private:
  LoadError::Detail detail_of(const std::string& key, std::string expected) const {
    return {.file = file_.path(),
            .tensor = key,
            .expected = std::move(expected),
            .got = has(key) ? text_of(file_.metadata().find(key)->second) : "no such key"};
  }

  static std::string text_of(const GgufValue& value) {
    return std::visit(
        [](const auto& v) -> std::string {
          using T = std::remove_cvref_t<decltype(v)>;
          if constexpr (std::is_same_v<T, bool>)
            return v ? "true" : "false";
          else if constexpr (std::is_same_v<T, std::string>)
            return '"' + v.substr(0, 80) + '"';
          else if constexpr (std::is_arithmetic_v<T>)
            return std::to_string(v);
          else
            return "an array of " + std::to_string(v.size());
        },
        value);
  }

  GgufFile file_;
  std::set<std::string> read_;
};

}  // namespace pllava::detail
