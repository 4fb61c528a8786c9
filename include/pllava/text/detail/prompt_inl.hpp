// Bodies of prompt.hpp, and the task prompts of the reference.
#pragma once

#include <algorithm>
#include <optional>
#include <span>

#include "pllava/text/detail/conversation_templates.hpp"
#include "pllava/text/detail/utf8.hpp"
#include "pllava/text/prompt.hpp"

namespace pllava {
namespace detail {

constexpr std::string_view kRecaptionQuery =
    "You are to assist me in accomplishing a task about the input video. Reply to me with a "
    "precise yet detailed response. For how you would succeed in the recaptioning task, read the "
    "following Instructions section and Then, make your response with a elaborate paragraph.\n"
    "# Instructions\n"
    "1. Avoid providing over detailed information such as color, counts of any objects as you are "
    "terrible regarding observing these details\n"
    "2. Instead, you should carefully go over the provided video and reason about key information "
    "about the overall video\n"
    "3. If you are not sure about something, do not include it in you response.\n"
    "# Task\n"
    "Describe the background, characters and the actions in the provided video.\n";

PLLAVA_INLINE std::vector<TaskPrompt> make_tasks() {
  TaskPrompt mvbench{"mvbench", "eval_mvbench", "eval_mvbench_llavanext"};
  mvbench.post_query = "\nOnly give the best option.";
  mvbench.answer_prompt = "Best option:(";
  mvbench.answer_tag = "Best option:(";
  mvbench.return_prompt = "(";
  TaskPrompt vcgbench{"vcgbench", "eval_vcgbench", "eval_vcg_llavanext"};
  TaskPrompt videoqa{"videoqa", "eval_videoqabench", "eval_videoqa_llavanext"};
  videoqa.pre_query = kPreQuery;
  videoqa.post_query = kPostQuery;
  videoqa.answer_prompt = kAnswerPrompt;
  videoqa.answer_tag = "Answer: In the video,";
  TaskPrompt recaption{"recaption", "eval_recaption", "eval_recaption_llavanext"};
  recaption.query = kRecaptionQuery;
  TaskPrompt describe{"describe", "plain", "eval_vcg_llavanext"};
  describe.query = "Describe the video in details.";
  return {mvbench, vcgbench, videoqa, recaption, describe};
}

PLLAVA_INLINE const std::vector<TaskPrompt>& all_tasks() {
  static const std::vector<TaskPrompt> tasks = make_tasks();
  return tasks;
}

PLLAVA_INLINE std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) {
    ++n;
  }
  return n;
}

/// `text` without any occurrence of `part`.
PLLAVA_INLINE std::string without(std::string_view text, std::string_view part) {
  std::string rest;
  for (std::size_t at; (at = text.find(part)) != text.npos; text.remove_prefix(at + part.size())) {
    rest += text.substr(0, at);
  }
  return rest += text;
}

/// Python's str.strip(): Unicode white space and the four ASCII separators.
PLLAVA_INLINE std::string_view strip_spaces(std::string_view text) {
  const auto is_space = [](std::string_view c) {
    const char32_t code = utf8_code(c);
    return is_white_space(code) || (code >= 0x1c && code <= 0x1f);
  };
  while (!text.empty()) {
    const std::size_t n = utf8_length(text, 0);
    if (n == 0 || !is_space(text.substr(0, n))) break;
    text.remove_prefix(n);
  }
  while (!text.empty()) {
    const std::size_t begin = utf8_previous(text, text.size());
    if (utf8_length(text, begin) == 0 || !is_space(text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

}  // namespace detail

PLLAVA_INLINE const ConversationTemplate& conversation_template(std::string_view key) {
  std::string known;
  for (const ConversationTemplate& t : detail::all_templates()) {
    if (t.key == key) return t;
    known += (known.empty() ? "" : ", ") + t.key;
  }
  throw PromptError("unknown conversation template \"" + std::string(key) + "\": expected one of " +
                    known);
}

PLLAVA_INLINE std::vector<std::string> conversation_keys() {
  std::vector<std::string> keys;
  for (const ConversationTemplate& t : detail::all_templates()) keys.push_back(t.key);
  return keys;
}

namespace detail {
inline constexpr std::string_view kChatmlEnd = "<|im_end|>";
}

PLLAVA_INLINE ChatFormat chat_format(const Tokenizer& tokenizer, std::span<const Index> eos_ids) {
  const std::optional<std::int32_t> im_end = tokenizer.id_of(detail::kChatmlEnd);
  const bool ends_answers =
      im_end && std::find(eos_ids.begin(), eos_ids.end(), Index{*im_end}) != eos_ids.end();
  return ends_answers ? ChatFormat::chatml : ChatFormat::vicuna;
}

PLLAVA_INLINE std::vector<std::string> end_token_warnings(const Tokenizer& tokenizer,
                                                          std::span<const Index> eos_ids) {
  constexpr std::string_view kEnd = "</s>";
  std::vector<std::string> sentences;
  for (const Index id : eos_ids) {
    const std::string name = "eos_token_id " + std::to_string(id);
    const auto token = static_cast<std::int32_t>(id);
    if (!tokenizer.has_token(token))
      sentences.push_back(name + " is not a token of the tokenizer");
    else if (!tokenizer.is_special(token) && tokenizer.token(token) != detail::kChatmlEnd)
      sentences.push_back(name + " is \"" + std::string(tokenizer.token(token)) +
                          "\", which is not a special token");
  }
  const std::optional<std::int32_t> end = tokenizer.id_of(kEnd);
  if (chat_format(tokenizer, eos_ids) == ChatFormat::vicuna && end &&
      std::find(eos_ids.begin(), eos_ids.end(), Index{*end}) == eos_ids.end())
    sentences.push_back("the token \"" + std::string(kEnd) + "\" (" + std::to_string(*end) +
                        ") is not an eos_token_id; answers may not end");
  return sentences;
}

PLLAVA_INLINE std::vector<std::string> template_warnings(const ConversationTemplate& t,
                                                         const Tokenizer& tokenizer) {
  constexpr std::string_view kBegin = "<|", kEnd = "|>";
  std::vector<std::string> sentences;
  for (const std::string& text : {t.system_prefix, t.roles[0], t.sep[0], t.roles[1], t.sep[1]}) {
    for (std::size_t begin = text.find(kBegin); begin != text.npos;) {
      const std::size_t end = text.find(kEnd, begin);
      if (end == text.npos) break;
      const std::string token = text.substr(begin, end + kEnd.size() - begin);
      begin = text.find(kBegin, end);
      std::string sentence = "the conversation template \"" + t.key + "\" has the token \"" +
                             token + "\", which is not a token of the tokenizer";
      if (!tokenizer.id_of(token) &&
          std::find(sentences.begin(), sentences.end(), sentence) == sentences.end())
        sentences.push_back(std::move(sentence));
    }
  }
  return sentences;
}

PLLAVA_INLINE std::string template_key(const TaskPrompt& task, ChatFormat format) {
  const std::string& key =
      format == ChatFormat::chatml ? task.chatml_template : task.vicuna_template;
  return key.empty() ? "plain" : key;
}

PLLAVA_INLINE const TaskPrompt& task_prompt(std::string_view name) {
  std::string known;
  for (const TaskPrompt& t : detail::all_tasks()) {
    if (t.name == name) return t;
    known += (known.empty() ? "" : ", ") + t.name;
  }
  throw PromptError("unknown task \"" + std::string(name) + "\": expected one of " + known);
}

PLLAVA_INLINE void Conversation::user_query(const UserQuery& query) {
  if (query.videos < 0)
    throw ArgumentError("the number of videos in a message must be 0 or more, not " +
                        std::to_string(query.videos));
  std::string text = query.text;
  if (query.post_query) text += " " + *query.post_query;
  if (query.pre_query) text.insert(0, *query.pre_query + " ");
  text.insert(0, template_.question_prefix);
  if (query.videos > 0) {
    // As in the reference, two of "<image>\n" give "<image><image>\n".
    const std::string& token = template_.video_token;
    if (token.empty()) throw PromptError("the template has no video token");
    std::string videos;
    for (Index i = 0; i < query.videos; ++i) videos.append(token, 0, token.size() - 1);
    videos += token.back();
    if (template_.style == VideoStyle::alone) {
      messages_.emplace_back(Role::user, std::move(videos));
    } else if (query.plain || text.find(token) == std::string::npos) {
      text.insert(0, template_.style == VideoStyle::joined ? videos : videos + " ");
    }
  }
  messages_.emplace_back(Role::user, std::move(text));
}

PLLAVA_INLINE void Conversation::assistant_response(std::string text) {
  messages_.emplace_back(Role::assistant, std::move(text));
}

PLLAVA_INLINE void Conversation::extend_answer(std::string_view text) {
  if (messages_.empty() || messages_.back().first == Role::user) assistant_response({});
  messages_.back().second += text;
}

PLLAVA_INLINE std::string Conversation::prompt() const {
  if (messages_.empty()) throw PromptError("a conversation without messages has no prompt");
  const auto& [user_role, assistant_role] = template_.roles;
  const auto& [user_sep, assistant_sep] = template_.sep;
  std::string text;
  if (!template_.system.empty())
    text = template_.system_prefix + template_.system + template_.system_suffix.value_or(user_sep);
  for (const auto& [role, message] : messages_) {
    const bool user = role == Role::user;
    text += (user ? user_role : assistant_role) + message + (user ? user_sep : assistant_sep);
  }
  if (messages_.back().first == Role::user) return text + assistant_role;
  text.resize(text.size() - assistant_sep.size());
  return text;
}

PLLAVA_INLINE PromptParts split_at_video(std::string_view prompt) {
  if (const std::size_t n = detail::count_of(prompt, kVideoToken); n != 1) {
    throw PromptError("the prompt must contain " + std::string(kVideoToken) +
                      " exactly once, but contains it " + std::to_string(n) + " times");
  }
  const std::size_t cut = prompt.find(kVideoToken) + kVideoToken.size();
  return {std::string(prompt.substr(0, cut)), std::string(prompt.substr(cut))};
}

PLLAVA_INLINE Dialogue::Dialogue(ConversationTemplate conversation_template, TaskPrompt task)
    : conversation_(std::move(conversation_template)), task_(std::move(task)) {
  Conversation empty_question = conversation_;
  empty_question.user_query(
      {.text = "", .pre_query = task_.pre_query, .post_query = task_.post_query, .videos = 1});
  prefix_ = split_at_video(empty_question.prompt()).before_video;
  given_ = prefix_.size();
}

PLLAVA_INLINE PromptText Dialogue::ask(std::string question, bool parse_special) {
  if (parse_special && question.find(kVideoToken) != std::string::npos) {
    throw PromptError("the question contains " + std::string(kVideoToken) +
                      ", the placeholder of the video");
  }
  const bool first = conversation_.messages().empty();
  if (!first) answered("");  // an unanswered question gets an empty answer
  turns_.push_back({question, {}, parse_special});
  const std::size_t question_size = question.size();
  conversation_.user_query({.text = std::move(question),
                            .pre_query = task_.pre_query,
                            .post_query = task_.post_query,
                            .videos = first ? 1 : 0,
                            .plain = !parse_special});
  if (task_.answer_prompt) conversation_.assistant_response(*task_.answer_prompt);
  const std::size_t size = conversation_.prompt().size();
  if (!parse_special && question_size > 0) {
    const ConversationTemplate& format = conversation_.conversation_template();
    const std::size_t after = (task_.post_query ? 1 + task_.post_query->size() : 0) +
                              format.sep[0].size() + format.roles[1].size() +
                              task_.answer_prompt.value_or("").size();
    plain_.push_back({size - after - question_size, size - after});
  }
  return from(std::exchange(given_, size));
}

PLLAVA_INLINE void Dialogue::answered(std::string_view text) {
  if (!turns_.empty()) turns_.back().answer += text;
  conversation_.extend_answer(text);
  const std::size_t size = conversation_.prompt().size();
  if (!text.empty()) plain_.push_back({size - text.size(), size});
  given_ = size;
}

PLLAVA_INLINE std::string Dialogue::prompt() const {
  return conversation_.messages().empty() ? prefix_ : conversation_.prompt();
}

PLLAVA_INLINE PromptText Dialogue::after_prefix() const {
  return from(prefix_.size());
}

PLLAVA_INLINE PromptText Dialogue::from(std::size_t begin) const {
  PromptText part{prompt().substr(begin), {}};
  for (const TextRange& range : plain_) {
    if (range.begin >= begin) part.plain.push_back({range.begin - begin, range.end - begin});
  }
  return part;
}

PLLAVA_INLINE Dialogue Dialogue::without_first_turns(std::size_t count) const {
  Dialogue rest(conversation_.conversation_template(), task_);
  for (std::size_t i = count; i < turns_.size(); ++i) {
    rest.ask(turns_[i].question, turns_[i].parse_special);
    rest.answered(turns_[i].answer);
  }
  return rest;
}

PLLAVA_INLINE std::string extract_answer(const ConversationTemplate& conversation_template,
                                         std::string_view decoded) {
  const std::string& role =  // without a role, the answer follows the question's separator
      conversation_template.roles[1].empty() ? conversation_template.sep[0]
                                             : conversation_template.roles[1];
  // A SentencePiece decoder inserts a space after "<|im_start|>": a new text segment starts there.
  const std::string spaced = role == "<|im_start|>assistant\n" ? "<|im_start|> assistant\n" : role;
  for (const std::string& tag : {spaced, role}) {
    const std::size_t at = decoded.rfind(tag);
    if (at == decoded.npos) continue;
    decoded.remove_prefix(at + tag.size());
    break;
  }
  const std::string& sep = conversation_template.sep[1];
  if (!sep.empty() && decoded.ends_with(sep)) decoded.remove_suffix(sep.size());
  return std::string(detail::strip_spaces(decoded));
}

PLLAVA_INLINE std::string extract_answer(const TaskPrompt& task, std::string_view answer) {
  if (task.answer_tag.empty()) return std::string(answer);
  std::string kept;
  const std::size_t first = answer.find(task.answer_tag);
  if (first != answer.npos) {
    kept = detail::without(answer.substr(first), task.answer_tag);
  }
  if (task.return_prompt.empty()) return std::string(detail::strip_spaces(kept));
  return task.return_prompt + kept;
}

}  // namespace pllava
