// A JSON value that can be destroyed without memory.
#pragma once

#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

namespace pllava::detail {

// NOLINTBEGIN(bugprone-exception-escape): nothing throws for values of the types that are checked
/// Owns a JSON value. The destructor of a nlohmann::json that has members or elements allocates a
/// list of them, and ends the program if that fails, for example while std::bad_alloc is thrown.
/// That of an empty value does not allocate, so this one empties the value from the leaves up.
struct JsonDocument {
  nlohmann::json root;

  JsonDocument() = default;
  JsonDocument(JsonDocument&& other) noexcept : root(std::move(other.root)) {}
  JsonDocument& operator=(JsonDocument&& other) noexcept {
    std::swap(root, other.root);
    return *this;
  }
  ~JsonDocument() { clear(root); }

 private:
  static void clear(nlohmann::json& value) noexcept {
    if (!value.is_structured()) return;
    const void* const object = value.get_ptr<nlohmann::json::object_t*>();
    const void* const array = value.get_ptr<nlohmann::json::array_t*>();
    if (object == nullptr && array == nullptr) {
      // operator[] or push_back of a null value changed its type and then failed to allocate.
      std::construct_at(&value);
      return;
    }
    for (nlohmann::json& child : value) clear(child);
    value.clear();
  }
};
// NOLINTEND(bugprone-exception-escape)

/// Assigns a list or map to a member. `json["key"] = values` converts the values first, and has to
/// destroy them as a nlohmann::json if the member cannot be allocated.
template <class Values>
void assign(nlohmann::json& member, const Values& values) {
  member = values;
}

}  // namespace pllava::detail
