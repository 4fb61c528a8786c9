// Body of read_conversation_template.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/text/prompt.hpp"

namespace pllava {
namespace detail {

inline VideoStyle read_video_style(const JsonReader& json) {
  constexpr std::pair<std::string_view, VideoStyle> kStyles[] = {
      {"joined", VideoStyle::joined},
      {"interleaved", VideoStyle::interleaved},
      {"alone", VideoStyle::alone}};
  const std::string name = json.text("video_style", "joined");
  for (const auto& [style_name, style] : kStyles)
    if (name == style_name) return style;
  throw json.error("video_style", R"("joined", "interleaved" or "alone")",
                   json.find("video_style"));
}

}  // namespace detail

PLLAVA_INLINE ConversationTemplate read_conversation_template(const std::filesystem::path& file) {
  const detail::JsonDocument document = detail::read_json_object(file);
  const detail::JsonReader json(document.root, file.string());
  ConversationTemplate t;
  t.key = file.string();
  const std::string default_video = std::string(kVideoToken) + "\n";
  const std::pair<const char*, std::string*> members[] = {
      {"system", &t.system},
      {"system_prefix", &t.system_prefix},
      {"system_suffix", &t.system_suffix.emplace()},
      {"user_prefix", &t.roles[0]},
      {"user_suffix", &t.sep[0]},
      {"assistant_prefix", &t.roles[1]},
      {"assistant_suffix", &t.sep[1]},
      {"question_prefix", &t.question_prefix},
      {"video", &t.video_token}};
  for (const auto& [name, text] : members)
    *text = json.text(name, text == &t.video_token ? default_video.c_str() : "");
  t.style = detail::read_video_style(json);
  for (const auto& [name, value] : document.root.items()) {
    bool is_known = name == "video_style";
    for (const auto& member : members) is_known = is_known || name == member.first;
    json.require(name.c_str(), is_known, "no such member");
  }
  const auto holds_video = [](const std::string& text) {
    return text.find(kVideoToken) != std::string::npos;
  };
  const std::size_t at = t.video_token.find(kVideoToken);
  json.require("video", at != std::string::npos && !holds_video(t.video_token.substr(at + 1)),
               std::string(kVideoToken) + " exactly once");
  for (const auto& [name, text] : members)
    json.require(name, text == &t.video_token || !holds_video(*text),
                 "a text without " + std::string(kVideoToken));
  json.require("user_prefix", !t.roles[0].empty() || !t.sep[0].empty(),
               "a text here or in user_suffix, so that messages can be told apart");
  json.require("assistant_prefix", !t.roles[1].empty() || !t.sep[0].empty(),
               "a text here or in user_suffix, so that the answer begins after a mark");
  return t;
}

}  // namespace pllava
