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
  /// Share of the visual tokens that stay: those that repeat over time are left out, see
  /// FrameEncoder::without_repeats. Below 1 the answers are not those of the reference, and the
  /// session does not roll.
  double keep_tokens = 1;
  RunControl control = {};
  bool trace = false;  ///< keep intermediate results in the report (clips only)
};

/// Timings and sizes of `watch`.
struct WatchReport {
  VideoTimings video;
  Index prefix_tokens = 0;  ///< positions that the prefix and the video take
  Trace trace;              ///< filled only on request
};

struct SlideOptions {
  /// Off: exact. The answers equal those of a new session over the video, bit for bit; all its
  /// tokens are prefilled, behind the keys and values of the prefix.
  ///
  /// On: the frames that left are removed from the KV cache and only new frames are prefilled. The
  /// rows that stay keep their keys and values, although they have attended to rows that left, so
  /// answers drift from the exact ones. `refresh_every` bounds the drift.
  bool rolling = false;
  Index refresh_every = 64;  ///< every n-th call is exact; 1: all are
  RunControl control = {};
};

/// What `slide_to` did.
struct SlideReport {
  Index removed_tokens = 0;    ///< visual tokens that left
  Index prefilled_tokens = 0;  ///< visual tokens that were prefilled
  /// Whether the whole video was prefilled: always if not rolling, and if rolling at the first
  /// call, at every `refresh_every`-th, where the video shares no frame with the one before, and
  /// where the model or the backend cannot roll.
  bool exact = true;
  double prefill_ms = 0;
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

  /// Replaces the video, such as by SlidingWindow::video() after a push, and forgets all questions
  /// and answers; marks become invalid. A video of the same tokens costs nothing. Throws
  /// ArgumentError (a video that another model encoded, refresh_every below 1, a call from a
  /// callback of `ask`) and ContextError: the session is then as before the call. After
  /// CancelledError and OutOfMemoryError it has no video: `ask` throws ArgumentError until
  /// `slide_to` has succeeded.
  SlideReport slide_to(const EncodedVideo& video, const SlideOptions& options = {});

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
  void require_video() const;
  /// Removes the frames that left and appends the new ones; false if that is not possible.
  bool roll_to(const EncodedVideo& video, const EncodedVideo& before, const RunControl& control,
               SlideReport& report);
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
  std::optional<EncodedVideo>
      video_;  // whose tokens are in the context; empty after a failed slide
  double keep_tokens_ = 1;
  bool keeps_prefix_ = false;  // the context began with append_prefix()
  Index rolled_ = 0;           // slides since the context was exact
  std::shared_ptr<const char> identity_ = std::make_shared<const char>();
  bool is_asking_ = false;
  WatchReport report_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/runtime/detail/session_inl.hpp"
#endif
