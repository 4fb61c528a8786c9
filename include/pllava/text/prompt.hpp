// Prompts: conversation templates, task prompts, and extraction of the answer from decoded text
// (reference sections 5.1 to 5.4 and 8.4; all strings equal the reference's byte for byte).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/error.hpp"
#include "pllava/text/text_range.hpp"
#include "pllava/text/tokenizer.hpp"

namespace pllava {

/// The placeholder of the video in a prompt. It is an added token of the tokenizer.
inline constexpr std::string_view kVideoToken = "<image>";

enum class Role : std::uint8_t { user, assistant };

/// Position of the video token: in a message of its own (the reference's MM_ALONE), before the
/// question and a space in the same message (its MM_INTERLEAF), or directly before the question.
enum class VideoStyle : std::uint8_t { alone, interleaved, joined };

/// The format of a conversation. A template is a value: copy it to change it.
struct ConversationTemplate {
  std::string key;
  std::string system;
  std::array<std::string, 2> roles;  ///< prefix of a message, indexed by Role
  std::array<std::string, 2> sep;    ///< suffix of a message, indexed by Role
  std::string video_token;           ///< kVideoToken, followed by a newline in most templates
  VideoStyle style = VideoStyle::interleaved;
  std::string system_prefix = {};  ///< before `system`, if that is not empty
  std::optional<std::string> system_suffix = std::nullopt;  ///< after it; empty: the user's `sep`
  std::string question_prefix = {};  ///< before each question, after the video
  // The reference defines these three in its VideoQA templates and applies them in the VideoQA task
  // only; see TaskPrompt.
  std::optional<std::string> pre_query = std::nullopt;
  std::optional<std::string> post_query = std::nullopt;
  std::optional<std::string> answer_prompt = std::nullopt;
};

/// The template of a key. Vicuna format (7B and 13B): "plain", "eval_vcgbench", "eval_mvbench",
/// "eval_videoqabench", "eval_recaption", and "demo", the template of the reference's demo. ChatML
/// format (34B): "eval_vcg_llavanext", "eval_mvbench_llavanext", "eval_videoqa_llavanext",
/// "eval_recaption_llavanext".
///
/// The formats of other families, from their chat templates: "llava" (LLaVA-1.5, LLaVA-NeXT over
/// Vicuna, LLaVA-NeXT-Video 7B), "llava_mistral", "llava_llama3", "llava_34b" and "llava_qwen"
/// (LLaVA-NeXT over these decoders), "llava_video_34b", "llava_onevision"; for language models
/// alone "qwen2", "qwen2_5", "smollm2", "llama3". An answer of "llava_onevision" lacks a space
/// before its newline that the published template writes in history, but not before an answer.
///
/// Throws PromptError listing all keys if the key is unknown.
const ConversationTemplate& conversation_template(std::string_view key);
/// All keys of conversation_template().
std::vector<std::string> conversation_keys();

/// A template from a JSON file: an object of strings. Each message is its prefix, the text, its
/// suffix: user_prefix, user_suffix, assistant_prefix, assistant_suffix; and before the messages
/// system_prefix, system, system_suffix, unless `system` is empty. "video" is the text with the
/// placeholder "<image>" (default "<image>\n"), "video_style" is "joined" (default), "interleaved"
/// or "alone" (see VideoStyle), "question_prefix" precedes each question. Other members are empty
/// by default. Throws LoadError: no such file, not JSON, an unknown member, a placeholder missing
/// or at another place, nothing that separates the messages.
ConversationTemplate read_conversation_template(const std::filesystem::path& file);

/// A question from the user, and the text that a task puts around it.
struct UserQuery {
  std::string text;
  std::optional<std::string> pre_query = std::nullopt;   ///< inserted before `text` and a space
  std::optional<std::string> post_query = std::nullopt;  ///< appended after a space
  Index videos = 0;                                      ///< number of videos in the message
  bool plain = false;  ///< a video token in `text` is text and does not stand for the video
};

/// A list of messages, formatted to a prompt by a template: the reference's `Conversation`.
class Conversation {
 public:
  explicit Conversation(ConversationTemplate conversation_template)
      : template_(std::move(conversation_template)) {}

  const ConversationTemplate& conversation_template() const noexcept { return template_; }
  /// (role, text), oldest first.
  const std::vector<std::pair<Role, std::string>>& messages() const noexcept { return messages_; }

  /// Appends a question. The video token becomes a separate message (VideoStyle::alone) or is
  /// inserted before the question unless the question already contains it (interleaved).
  /// Throws ArgumentError for a negative number of videos.
  void user_query(const UserQuery& query);
  /// Appends an answer, or the start of an answer that the model continues.
  void assistant_response(std::string text);
  /// Appends to the last answer; starts an answer if the last message is the user's.
  void extend_answer(std::string_view text);

  /// The prompt: role, text and separator of each message. If the last message is the user's, the
  /// assistant's role follows. If it is the assistant's, its separator is omitted so that the model
  /// continues the sentence. Throws PromptError if there is no message.
  std::string prompt() const;

 private:
  ConversationTemplate template_;
  std::vector<std::pair<Role, std::string>> messages_;
};

/// The markup of messages that a model was trained on.
enum class ChatFormat : std::uint8_t {
  vicuna,  ///< "USER: ... ASSISTANT: ...</s>": 7B and 13B
  chatml,  ///< "<|im_start|>user\n...<|im_end|>\n": 34B
};

/// chatml if the tokenizer has the token "<|im_end|>" and its id is an end-of-sequence id of the
/// model, else vicuna.
ChatFormat chat_format(const Tokenizer& tokenizer, std::span<const Index> eos_ids);

/// Why a model's answers may not end: sentences about `eos_ids` that the tokenizer does not have or
/// that are not special tokens, and about "</s>", which ends an answer in the vicuna format, if it
/// is a token but not among them. Empty if there is no doubt.
std::vector<std::string> end_token_warnings(const Tokenizer& tokenizer,
                                            std::span<const Index> eos_ids);

/// A sentence for each control token of a template, such as "<|im_end|>", that the tokenizer does
/// not have: the model would read its characters. Empty if there is none.
std::vector<std::string> template_warnings(const ConversationTemplate& conversation_template,
                                           const Tokenizer& tokenizer);

/// The prompt of a benchmark of the reference: its templates and the text around each question.
struct TaskPrompt {
  std::string name;
  std::string vicuna_template;  ///< key for ChatFormat::vicuna
  std::string chatml_template;  ///< key for ChatFormat::chatml
  std::optional<std::string> pre_query = std::nullopt;
  std::optional<std::string> post_query = std::nullopt;
  std::optional<std::string> answer_prompt = std::nullopt;  ///< the start of every answer
  std::string query = {};       ///< the task's fixed question; empty if the data set has questions
  std::string answer_tag = {};  ///< extract_answer() keeps the text after it ...
  std::string return_prompt = {};  ///< ... and prepends this
};

/// The task of a name: "mvbench", "vcgbench", "videoqa", "recaption" (with the template
/// "eval_recaption"; the reference's script uses "eval_videoqabench" by default) or "describe" (a
/// fixed question for a quick test of a model). Throws PromptError listing all names if the name is
/// unknown.
const TaskPrompt& task_prompt(std::string_view name);

/// Key of the task's conversation template for a model of this format; "plain" for TaskPrompt{}.
std::string template_key(const TaskPrompt& task, ChatFormat format);

/// A prompt split after the video token. Since the split follows an added token, the parts can be
/// encoded separately, the second with {.bos = false, .continues = true}.
struct PromptParts {
  std::string before_video;  ///< ends with kVideoToken
  std::string after_video;
};

/// Throws PromptError unless the prompt contains kVideoToken exactly once.
PromptParts split_at_video(std::string_view prompt);

/// Text of a conversation, and the parts of it that are not markup: questions and answers. Encode
/// it with `plain`, so that `</s>` in a question stays text.
struct PromptText {
  std::string text;
  std::vector<TextRange> plain;
};

/// A conversation about one video, as the text increments that a model with a KV cache reads. The
/// increments and the generated answers concatenate to Conversation::prompt(). A value: a copy is
/// an independent conversation from the same point.
class Dialogue {
 public:
  /// `task` adds its pre_query, post_query and answer_prompt to every question.
  /// Throws PromptError if the template does not insert exactly one video token.
  explicit Dialogue(ConversationTemplate conversation_template, TaskPrompt task = {});

  /// The prompt up to and including kVideoToken. It does not depend on the question.
  const std::string& prefix() const noexcept { return prefix_; }

  /// Appends a question and returns the text to prefill: everything after the previous increment
  /// or answer, up to the start of the model's answer. For a follow-up question it starts with the
  /// separator of the previous answer. The question is plain text unless `parse_special` is on, as
  /// in the reference. Throws PromptError, without effect, if the question is not plain and
  /// contains kVideoToken.
  PromptText ask(std::string question, bool parse_special = false);
  /// Appends the generated answer, unmodified.
  void answered(std::string_view text);

  /// The prompt of the conversation so far, with answers.
  std::string prompt() const;
  /// The part of it after prefix().
  PromptText after_prefix() const;

  /// Number of questions so far.
  std::size_t turns() const noexcept { return turns_.size(); }
  /// The same conversation without its first `count` questions and their answers.
  Dialogue without_first_turns(std::size_t count) const;

 private:
  struct Turn {
    std::string question, answer;
    bool parse_special = false;
  };
  /// The prompt from `begin` on.
  PromptText from(std::size_t begin) const;

  Conversation conversation_;
  TaskPrompt task_;
  std::vector<Turn> turns_;
  std::string prefix_;
  std::vector<TextRange> plain_;  // in prompt()
  std::size_t given_ = 0;         // length of the part of prompt() that was returned or generated
};

/// The answer in the decoded text of a whole conversation (special tokens skipped): the text after
/// the last assistant role, without separator and surrounding white space. This is `pllava_answer`
/// of the reference; an answer that contains the role itself loses the text before it, as there.
std::string extract_answer(const ConversationTemplate& conversation_template,
                           std::string_view decoded);
/// The task's part of that answer: MVBench keeps the option as "(A) ...", VideoQA the text after
/// its answer prompt; other tasks keep the whole answer.
std::string extract_answer(const TaskPrompt& task, std::string_view answer);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/text/detail/conversation_file_inl.hpp"
#include "pllava/text/detail/prompt_inl.hpp"
#endif
