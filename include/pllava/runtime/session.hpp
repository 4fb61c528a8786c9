// One video, many questions: vision and the prefill of the prefix run once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pllava/runtime/generate.hpp"
#include "pllava/runtime/inference_context.hpp"
#include "pllava/text/prompt.hpp"
#include "pllava/text/tokenizer.hpp"

namespace pllava {

struct WatchOptions {
  std::string task = {};  ///< "mvbench", "videoqa", ... (see task_prompt); empty for none
  /// Key of a conversation template. Empty: that of ModelConfig; if that is empty too, the task's
  /// template in the model's chat_format().
  std::string conversation_template = {};
  /// A template of the user's, used instead: see read_conversation_template().
  std::optional<ConversationTemplate> own_template = {};
  std::string system = {};  ///< replaces the template's system text where not empty
  Index capacity = 0;       ///< KV cache positions to reserve; 0: the model's whole context
  RunControl control = {};
  bool trace = false;  ///< keep intermediate results in the report (clips only)
};

/// Timings and sizes of `watch`.
struct WatchReport {
  VideoTimings video;
  Index prefix_tokens = 0;  ///< positions that the prefix and the video take
  Trace trace;              ///< filled only on request
};

/// Threads: belongs to one thread at a time. Sessions on several threads may share a Pipeline.
class Session {
 public:
  /// A point in the conversation that `rewind` restores.
  class Mark {
    friend class Session;
    Index rows = 0;
    std::size_t ids = 0;
    std::uint64_t digest = 0;             // of the ids
    std::shared_ptr<const char> session;  // identity of the session
    std::vector<std::int32_t> pending;
    Dialogue dialogue;
    explicit Mark(Dialogue d) : dialogue(std::move(d)) {}
  };

  /// Answers a question. A later question is a follow-up: it sees all questions and answers before,
  /// without the stop strings that ended them. Throws ContextError, PromptError, ArgumentError,
  /// CancelledError; the session is then as before the call. ArgumentError too if `on_piece` calls
  /// the session.
  Answer ask(const std::string& question, const GenerateOptions& options = {},
             const PieceCallback& on_piece = {});

  /// `mark` returns the present point, `rewind` restores it. A mark is valid for its own session,
  /// while the conversation up to it is unchanged; rewinding to another throws ArgumentError.
  Mark mark() const;
  void rewind(const Mark& mark);

  /// Removes the oldest question and its answer, so that a full context has room again. The later
  /// ones are prefilled again after the video. Returns false if there is no question. Throws
  /// ArgumentError from a callback of `ask`, CancelledError; after it no question is left.
  bool forget_oldest_turn(const RunControl& control = {});

  /// Positions of the context in use, and in all.
  Index length() const { return context().length(); }
  Index capacity() const { return context().capacity(); }
  const WatchReport& report() const noexcept { return report_; }

 private:
  friend class Pipeline;
  Session(std::shared_ptr<const Model> model, Tokenizer tokenizer, const WatchOptions& options);
  /// Encodes the clip and appends it after the prefix.
  void watch(const Clip& clip, const PreprocessConfig& config, const WatchOptions& options);
  /// Appends a video that was encoded before.
  void watch(const EncodedVideo& video, const WatchOptions& options);
  void append_prefix(Index video_tokens, const WatchOptions& options);
  Answer generate(const std::string& question, const GenerateOptions& options,
                  const PieceCallback& on_piece);
  bool follows_plain_token() const;
  void restore(Mark mark);
  void remove_stop_string(const std::vector<std::int32_t>& output,
                          const std::vector<std::size_t>& ends, const std::string& text,
                          Index first_row, std::size_t first_id);
  /// Throws ArgumentError if the session was moved from.
  InferenceContext& context() const;

  std::shared_ptr<const Model> model_;
  Tokenizer tokenizer_;
  std::unique_ptr<InferenceContext> context_;
  Dialogue dialogue_;
  std::vector<std::int32_t> ids_;      // everything that was appended to the context
  std::size_t prefix_ids_ = 0;         // up to and including the video
  std::vector<std::int32_t> pending_;  // generated, not yet appended
  std::shared_ptr<const char> identity_ = std::make_shared<const char>();
  bool is_asking_ = false;
  WatchReport report_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/runtime/detail/session_inl.hpp"
#endif
