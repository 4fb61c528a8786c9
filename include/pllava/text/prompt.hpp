// What the model reads: conversation templates, task prompts, and the way back from decoded text to
// the answer (reference sections 5.1 to 5.4 and 8.4, strings exact to the byte).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// The text that stands for the video in a prompt. The tokenizer knows it as an added token.
inline constexpr std::string_view kVideoToken = "<image>";

enum class Role : std::uint8_t { user, assistant };

/// Where the video goes: into a message of its own, or in front of the question.
enum class VideoStyle : std::uint8_t { alone, interleaved };

/// The wording of a conversation. Templates are values: copy one and change what you like.
struct ConversationTemplate {
  std::string key;
  std::string system;
  std::array<std::string, 2> roles;  ///< what opens a message, indexed by Role
  std::array<std::string, 2> sep;    ///< what closes it
  std::string video_token;           ///< kVideoToken, with a newline in most templates
  VideoStyle style = VideoStyle::interleaved;
  // The reference carries these three with its VideoQA templates and applies them in the VideoQA
  // task only; see TaskPrompt.
  std::optional<std::string> pre_query = std::nullopt;
  std::optional<std::string> post_query = std::nullopt;
  std::optional<std::string> answer_prompt = std::nullopt;
};

/// The template of this key: "plain", "eval_vcgbench", "eval_mvbench", "eval_videoqabench",
/// "eval_recaption", each of the latter also for 34B as "eval_vcg_llavanext",
/// "eval_mvbench_llavanext", "eval_videoqa_llavanext", "eval_recaption_llavanext"; and "demo", the
/// wording of the reference's demo. Throws PromptError that lists the keys.
const ConversationTemplate& conversation_template(std::string_view key);
/// All keys, in the order above.
std::vector<std::string> conversation_keys();

/// A question as the data set has it, and what a task puts around it.
struct UserQuery {
  std::string text;
  std::optional<std::string> pre_query = std::nullopt;   ///< goes in front, with a space
  std::optional<std::string> post_query = std::nullopt;  ///< goes behind, with a space
  Index videos = 0;                                      ///< how many videos the message brings
};

/// A list of messages and the prompt they make: the reference's `Conversation`.
class Conversation {
 public:
  explicit Conversation(ConversationTemplate conversation_template)
      : template_(std::move(conversation_template)) {}

  const ConversationTemplate& conversation_template() const noexcept { return template_; }
  /// (role, text), oldest first.
  const std::vector<std::pair<Role, std::string>>& messages() const noexcept { return messages_; }

  /// Appends a question. With videos, their token becomes a message of its own (VideoStyle::alone)
  /// or goes in front of the question, unless the question already contains it (interleaved).
  /// Throws ArgumentError for a negative number of videos.
  void user_query(const UserQuery& query);
  /// Appends an answer, or the beginning of one that the model shall continue.
  void assistant_response(std::string text);
  /// Goes on with the answer begun last; begins one where the user spoke last.
  void extend_answer(std::string_view text);

  /// The prompt. Each message is its role, its text, its separator. Where the user spoke last, the
  /// assistant's role follows; where the assistant did, its separator is left out so that the model
  /// continues the sentence. Throws PromptError if there is no message.
  std::string prompt() const;

 private:
  ConversationTemplate template_;
  std::vector<std::pair<Role, std::string>> messages_;
};

/// What a benchmark of the reference puts around its questions.
struct TaskPrompt {
  std::string name;
  std::string template_key;            ///< for the 7B and 13B models
  std::string template_key_llavanext;  ///< for the 34B model
  std::optional<std::string> pre_query = std::nullopt;
  std::optional<std::string> post_query = std::nullopt;
  std::optional<std::string> answer_prompt = std::nullopt;  ///< how every answer begins
  std::string query = {};          ///< the task's one question; empty where the data set asks
  std::string answer_tag = {};     ///< extract_answer() keeps what follows it ...
  std::string return_prompt = {};  ///< ... and puts this in front
};

/// The task of this name: "mvbench", "vcgbench", "videoqa", "recaption" (with the template of its
/// own; the reference's script runs its query through "eval_videoqabench" unless told otherwise) or
/// "describe" (one fixed question for trying a model). Throws PromptError that lists the names.
const TaskPrompt& task_prompt(std::string_view name);

/// A prompt cut behind its video. The cut is behind an added token, so both halves can be tokenised
/// by themselves: the second with {.bos = false, .continues = true}.
struct PromptParts {
  std::string before_video;  ///< ends with kVideoToken
  std::string after_video;
};

/// Throws PromptError unless the prompt contains kVideoToken exactly once.
PromptParts split_at_video(std::string_view prompt);

/// A conversation about one video as the pieces of text that a model with a KV cache reads, one
/// after the other. The pieces and the answers in between are exactly Conversation's prompt.
/// A value: copy it to be able to go back.
class Dialogue {
 public:
  /// `task` adds its pre, post and answer texts to every question.
  /// Throws PromptError if the template does not bring exactly one video.
  explicit Dialogue(ConversationTemplate conversation_template, TaskPrompt task = {});

  /// The prompt through kVideoToken: the same for every question, known before any.
  const std::string& prefix() const noexcept { return prefix_; }

  /// The text to append for this question, up to where the model's answer begins. For a follow-up
  /// it starts with the separator that closes the answer before. Throws PromptError, and changes
  /// nothing, if the question contains kVideoToken.
  std::string ask(std::string question);
  /// Takes down what the model answered, as it was generated.
  void answered(std::string_view text);

  /// Everything so far.
  std::string prompt() const;

 private:
  Conversation conversation_;
  TaskPrompt task_;
  std::string prefix_;
  std::size_t given_ = 0;  // how much of prompt() has been handed out or generated
};

/// The answer in the decoded text of a whole conversation (special tokens skipped): what follows
/// the last assistant role, without separator and surrounding white space. `pllava_answer` of the
/// reference; as there, an answer that itself contains the role loses what precedes it.
std::string extract_answer(const ConversationTemplate& conversation_template,
                           std::string_view decoded);
/// What the task makes of that answer: MVBench keeps the option as "(A) ...", VideoQA what follows
/// its answer prompt; the others keep all.
std::string extract_answer(const TaskPrompt& task, std::string_view answer);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/text/detail/prompt_inl.hpp"
#endif
