// White space at the ends of a streamed answer.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace pllava::detail {

/// Removes the white space at the ends of a text that arrives in pieces.
class PieceTrimmer {
 public:
  /// The part of the text that is complete with this piece.
  std::string push(std::string_view piece) {
    const std::size_t begin = piece.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) {
      if (begun_) space_ += piece;
      return {};
    }
    if (!begun_) piece.remove_prefix(begin);
    begun_ = true;
    const std::size_t end = piece.find_last_not_of(kSpace) + 1;
    std::string text = std::exchange(space_, std::string(piece.substr(end)));
    return text.append(piece.substr(0, end));
  }

 private:
  static constexpr const char* kSpace = " \t\n\r\f\v";
  std::string space_;  // may be inside of the text
  bool begun_ = false;
};

}  // namespace pllava::detail
