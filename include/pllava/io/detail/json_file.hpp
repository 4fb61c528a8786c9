// Reads JSON files. Size and depth are limited, duplicate keys are errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/error.hpp"
#include "pllava/io/detail/json_document.hpp"
#include "pllava/io/detail/stand_in.hpp"
#include "pllava/io/mapped_file.hpp"

namespace pllava::detail {

inline constexpr std::size_t kMaxJsonBytes = 100'000'000;
inline constexpr std::size_t kMaxJsonDepth = 64;

/// Builds a value from the parser's events. Rejects a key that occurs twice in an object
/// (nlohmann::json keeps the last one) and nesting deeper than kMaxJsonDepth.
class StrictJsonBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  using Json = nlohmann::json;

  explicit StrictJsonBuilder(std::string file) : file_(std::move(file)) {}

  /// The value, after a successful parse.
  JsonDocument take() { return std::move(document_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& value) override { return add(std::move(value)); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    const auto [member, is_new] =
        stack_.back()->get_ref<Json::object_t&>().emplace(std::move(name), nullptr);
    if (!is_new)
      throw LoadError("a key occurs twice",
                      {.file = file_, .tensor = member->first, .expected = {}, .got = {}});
    member_ = &member->second;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const Json::exception& error) override {
    throw LoadError("is not valid JSON",
                    {.file = file_, .tensor = {}, .expected = {}, .got = error.what()});
  }

 private:
  /// Stores a value at the current position and returns its address.
  template <class Value>
  Json* place(Value&& value) {
    if (stack_.empty()) {
      document_.root = std::forward<Value>(value);
      return &document_.root;
    }
    if (stack_.back()->is_array()) {
      stack_.back()->push_back(std::forward<Value>(value));
      return &stack_.back()->back();
    }
    *member_ = std::forward<Value>(value);
    return member_;
  }
  template <class Value>
  bool add(Value&& value) {
    place(std::forward<Value>(value));
    return true;
  }
  bool open(Json container) {
    if (stack_.size() == kMaxJsonDepth)
      throw LoadError("JSON is nested too deeply",
                      {.file = file_,
                       .tensor = {},
                       .expected = "at most " + std::to_string(kMaxJsonDepth) + " levels",
                       .got = {}});
    stack_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  std::string file_;
  JsonDocument document_;
  std::vector<Json*> stack_;  // the open containers; their addresses are stable
  Json* member_ = nullptr;    // the value of the last key of the innermost object
};

/// Parses a JSON object. Throws LoadError naming `file`: invalid JSON, a duplicate key, nesting
/// deeper than kMaxJsonDepth, not an object; OutOfMemoryError.
inline JsonDocument parse_json_object(const char* begin, const char* end, const std::string& file) {
  try {
    StrictJsonBuilder builder(file);
    nlohmann::json::sax_parse(begin, end, &builder);
    JsonDocument json = builder.take();
    if (!json.root.is_object())
      throw LoadError("is not a JSON object",
                      {.file = file,
                       .tensor = {},
                       .expected = "an object",
                       .got = std::string("a value of type ") + json.root.type_name()});
    return json;
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError("parsing the JSON of " + file, static_cast<std::uint64_t>(end - begin));
  }
}

/// Reads a JSON object from a file. Throws LoadError: not a regular file, more than kMaxJsonBytes,
/// a Git LFS pointer or HTML page, and as parse_json_object does.
inline JsonDocument read_json_object(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (bytes.size() > kMaxJsonBytes)
    throw LoadError("is too large",
                    {.file = file->path(),
                     .tensor = {},
                     .expected = "at most " + std::to_string(kMaxJsonBytes) + " bytes",
                     .got = std::to_string(bytes.size())});
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  refuse_stand_in(std::string_view(text, bytes.size()), file->path());
  return parse_json_object(text, text + bytes.size(), file->path());
}

}  // namespace pllava::detail
