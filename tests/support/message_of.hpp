// The text of an expected error.
#pragma once

#include <string>

namespace test {

/// The message of the Error of type E that `call` throws; "" if it throws none.
template <class E, class F>
std::string message_of(F&& call) {
  try {
    call();
  } catch (const E& e) {
    return e.what();
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace test
