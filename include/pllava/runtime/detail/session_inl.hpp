// Session: prompt, prefill, token loop.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "pllava/core/stopwatch.hpp"
#include "pllava/runtime/detail/frames_for_model.hpp"
#include "pllava/runtime/detail/piece_trimmer.hpp"
#include "pllava/runtime/session.hpp"

namespace pllava {

namespace detail {

/// The template that the options, else the model's configuration, else task and format choose.
inline ConversationTemplate choose_template(const WatchOptions& options, const TaskPrompt& task,
                                            const ModelConfig& config, const Tokenizer& tokenizer) {
  if (options.own_template) return *options.own_template;
  for (const std::string& key : {options.conversation_template, config.conversation_template})
    if (!key.empty()) return conversation_template(key);
  return conversation_template(template_key(task, chat_format(tokenizer, config.eos_tokens)));
}

inline Dialogue make_dialogue(const WatchOptions& options, const ModelConfig& config,
                              const Tokenizer& tokenizer) {
  const TaskPrompt task = options.task.empty() ? TaskPrompt{} : task_prompt(options.task);
  ConversationTemplate used = choose_template(options, task, config, tokenizer);
  if (!options.system.empty()) used.system = options.system;
  return Dialogue(std::move(used), task);
}

/// FNV-1a.
inline std::uint64_t digest_of(std::span<const std::int32_t> ids) {
  std::uint64_t digest = 0xcbf29ce484222325u;
  for (const std::int32_t id : ids)
    digest = (digest ^ static_cast<std::uint32_t>(id)) * 0x100000001b3u;
  return digest;
}

}  // namespace detail

PLLAVA_INLINE Session::Session(std::shared_ptr<const Model> model, Tokenizer tokenizer,
                               const WatchOptions& options)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      context_(model_->make_context(options.capacity)),
      dialogue_(detail::make_dialogue(options, model_->config(), tokenizer_)),
      keep_tokens_(options.keep_tokens) {
  ids_ = tokenizer_.encode(dialogue_.prefix());
  prefix_ids_ = ids_.size();
  const Index image_token = model_->config().image_token;
  if (ids_.empty() || ids_.back() != static_cast<std::int32_t>(image_token))
    throw PromptError("the tokenizer does not give the image token " + std::to_string(image_token) +
                      " for \"" + std::string(kVideoToken) + "\"");
}

PLLAVA_INLINE void Session::append_prefix(Index video_tokens, const WatchOptions& options) {
  const Index tokens = static_cast<Index>(ids_.size()) - 1 + video_tokens;
  if (tokens > context_->capacity()) throw ContextError("the video", tokens, context_->capacity());
  if (ids_.size() > 1)  // a short system prompt: its progress is not reported
    context_->append_tokens({ids_.data(), ids_.size() - 1}, {options.control.cancel, {}});
}

PLLAVA_INLINE void Session::watch(const Clip& clip, const PreprocessConfig& config,
                                  const WatchOptions& options) {
  const std::vector<Frame> frames = detail::frames_for_model(clip, model_->config().frames);
  const Index tokens = model_->video_tokens(static_cast<Index>(frames.size()));
  append_prefix(keep_tokens_ < 1 ? 0 : tokens, options);  // how many stay is not known yet
  const EncodedVideo video = context_->encode_clip(frames, config, options.control,
                                                   options.trace ? &report_.trace : nullptr);
  report_.video = video.timings();
  Stopwatch watch;
  context_->append_video(context_->without_repeats(video, keep_tokens_), options.control);
  report_.video.prefill_ms = watch.lap();
  report_.prefix_tokens = context_->length();
  video_ = video;
}

PLLAVA_INLINE void Session::watch(const EncodedVideo& video, const WatchOptions& options) {
  const EncodedVideo changes = context_->without_repeats(video, keep_tokens_);
  append_prefix(changes.tokens(), options);
  Stopwatch watch;
  context_->append_video(changes, options.control);
  report_.video.prefill_ms = watch.lap();
  report_.prefix_tokens = context_->length();
  video_ = video;
}

PLLAVA_INLINE void Session::require_video() const {
  if (!video_)
    throw ArgumentError(
        "the session has no video: slide_to was cancelled or failed; call it again");
}

PLLAVA_INLINE SlideReport Session::slide_to(const EncodedVideo& video,
                                            const SlideOptions& options) {
  if (is_asking_) throw ArgumentError("slide_to: the session is answering a question");
  if (options.refresh_every < 1)
    throw ArgumentError("refresh_every must be at least 1, got " +
                        std::to_string(options.refresh_every));
  InferenceContext& context = this->context();
  if (!context.accepts(video)) throw ArgumentError("slide_to: another model encoded the video");
  const auto prefix = static_cast<Index>(prefix_ids_) - 1;
  const EncodedVideo changes = context.without_repeats(video, keep_tokens_);
  if (prefix + changes.tokens() > context.capacity())
    throw ContextError("the video", prefix + changes.tokens(), context.capacity());

  const std::optional<EncodedVideo> before = std::exchange(video_, std::nullopt);
  identity_ = std::make_shared<const char>();
  ids_.resize(prefix_ids_);
  pending_.clear();
  dialogue_ = dialogue_.without_first_turns(dialogue_.turns());
  Stopwatch watch;
  SlideReport report;
  const bool must_be_exact =
      !options.rolling || keep_tokens_ < 1 || rolled_ + 1 >= options.refresh_every;
  const bool same = before && before->same_tokens(video);
  if (same && (rolled_ == 0 || options.rolling)) {
    context.truncate(report_.prefix_tokens);
    report.exact = rolled_ == 0;
  } else if (!must_be_exact && keeps_prefix_ && before &&
             roll_to(video, *before, options.control, report)) {
    ++rolled_;
  } else {
    // Where the cache has not rolled, the prefix is in place.
    const RunControl quiet{options.control.cancel, {}};
    const std::span<const std::int32_t> ids(ids_.data(), static_cast<std::size_t>(prefix));
    const bool prefix_in_place = rolled_ == 0 && context.length() >= prefix && before;
    if (prefix_in_place && (keeps_prefix_ || !options.rolling)) {
      context.truncate(prefix);
    } else {
      context.truncate(0);
      keeps_prefix_ = options.rolling;
      if (options.rolling)
        context.append_prefix(ids, quiet);
      else if (prefix > 0)
        context.append_tokens(ids, quiet);
    }
    const Index removed = before ? report_.prefix_tokens - prefix : 0;
    context.append_video(changes, options.control);
    rolled_ = 0;
    report = {removed, changes.tokens(), true, 0};
  }
  report.prefill_ms = watch.lap();
  report_.video = video.timings();
  report_.video.prefill_ms = report.prefill_ms;
  report_.prefix_tokens = context.length();
  video_ = video;
  return report;
}

PLLAVA_INLINE bool Session::roll_to(const EncodedVideo& video, const EncodedVideo& before,
                                    const RunControl& control, SlideReport& report) {
  const Index kept = before.frames_shared_with(video);
  if (kept == 0 || kept == video.frames()) return false;  // no frame stays, or none is new
  const Index per_frame = video.tokens_per_frame(), prefix = static_cast<Index>(prefix_ids_) - 1;
  const Index removed = (before.frames() - kept) * per_frame;
  // The rows after the last frame, which some families have, come again after the new last frame.
  context_->truncate(prefix + before.frames() * per_frame);
  if (removed > 0 && !context_->remove_after_prefix(removed)) return false;
  const EncodedVideo added = video.slice(kept, video.frames() - kept);
  context_->append_video(added, control);
  report = {removed, added.tokens(), false, 0};
  return true;
}

PLLAVA_INLINE InferenceContext& Session::context() const {
  if (context_ == nullptr) throw ArgumentError("the session was moved to another object");
  return *context_;
}

PLLAVA_INLINE Session::Mark Session::mark() const {
  Mark mark(dialogue_);
  mark.rows = context().length();
  mark.ids = ids_.size();
  mark.digest = detail::digest_of(ids_);
  mark.session = identity_;
  mark.pending = pending_;
  return mark;
}

PLLAVA_INLINE void Session::rewind(const Mark& mark) {
  if (is_asking_) throw ArgumentError("rewind: the session is answering a question");
  if (mark.session != identity_) throw ArgumentError("rewind: the mark is of another session");
  if (mark.rows > context().length() || mark.ids > ids_.size() ||
      mark.digest != detail::digest_of({ids_.data(), mark.ids}))
    throw ArgumentError("rewind: the conversation up to the mark was changed by another rewind");
  restore(mark);
}

/// Shortens what grew and moves the rest: nothing here allocates.
PLLAVA_INLINE void Session::restore(Mark mark) {
  context_->truncate(mark.rows);
  ids_.resize(mark.ids);
  pending_ = std::move(mark.pending);
  dialogue_ = std::move(mark.dialogue);
}

PLLAVA_INLINE bool Session::forget_oldest_turn(const RunControl& control) {
  if (is_asking_) throw ArgumentError("forget_oldest_turn: the session is answering a question");
  InferenceContext& kept = context();
  if (dialogue_.turns() == 0) return false;
  Dialogue rest = dialogue_.without_first_turns(1);
  const PromptText after = rest.after_prefix();
  const std::vector<std::int32_t> text =
      tokenizer_.encode(after.text, {.bos = false, .continues = true, .plain = after.plain});
  kept.truncate(report_.prefix_tokens);
  ids_.resize(prefix_ids_);
  pending_.clear();
  dialogue_ = dialogue_.without_first_turns(dialogue_.turns());
  if (!text.empty()) kept.append_tokens(text, control);
  ids_.insert(ids_.end(), text.begin(), text.end());
  dialogue_ = std::move(rest);
  return true;
}

/// Whether the text that comes next follows a token that is not an added token.
PLLAVA_INLINE bool Session::follows_plain_token() const {
  return !tokenizer_.is_added(pending_.empty() ? ids_.back() : pending_.back());
}

PLLAVA_INLINE Answer Session::ask(const std::string& question, const GenerateOptions& options,
                                  const PieceCallback& on_piece) {
  if (is_asking_) throw ArgumentError("ask: the session is answering another question");
  require_video();
  if (options.max_new_tokens < 1)
    throw ArgumentError("max_new_tokens must be at least 1, got " +
                        std::to_string(options.max_new_tokens));
  options.sampling.validate();
  Mark before = mark();
  is_asking_ = true;
  try {
    Answer answer = generate(question, options, on_piece);
    is_asking_ = false;
    return answer;
  } catch (...) {
    is_asking_ = false;
    restore(std::move(before));
    throw;
  }
}

PLLAVA_INLINE Answer Session::generate(const std::string& question, const GenerateOptions& options,
                                       const PieceCallback& on_piece) {
  Answer answer;
  const ModelConfig& config = model_->config();
  const std::vector<std::int32_t> eos(config.eos_tokens.begin(), config.eos_tokens.end());
  const auto is_eos = [&](std::int32_t id) { return std::count(eos.begin(), eos.end(), id) > 0; };

  // All but the last token of the previous answer are in the KV cache. An end-of-sequence token is
  // not appended: the template ends an answer with its own separator.
  const PromptText added = dialogue_.ask(question, options.parse_special);
  if (!pending_.empty() && is_eos(pending_.back())) pending_.pop_back();
  std::vector<std::int32_t> text =
      tokenizer_.encode(added.text, {.bos = false,
                                     .continues = true,
                                     .within_segment = follows_plain_token(),
                                     .plain = added.plain});
  text.insert(text.begin(), pending_.begin(), pending_.end());
  pending_.clear();
  ids_.insert(ids_.end(), text.begin(), text.end());
  const Index needed = context_->length() + static_cast<Index>(text.size()) + 1;
  if (needed > context_->capacity())
    throw ContextError("the conversation", needed, context_->capacity());

  answer.prompt = dialogue_.prompt();
  answer.prompt_ids = ids_;
  Sampler sampler(options.sampling, eos);
  sampler.observe(ids_);
  StreamDecoder decoder(tokenizer_, {.continues = true});
  StopMatcher stops(options.stop);
  detail::PieceTrimmer trimmer;
  std::string raw;
  Stopwatch watch;
  context_->append_tokens(text, options.control);
  const Index first_row = context_->length();
  const std::size_t first_id = ids_.size();
  std::vector<std::size_t> ends;  // length of the decoded text after each output token
  if (options.first_logits) answer.first_logits = context_->logits();
  answer.prefill_ms = watch.lap();

  const auto emit = [&](const std::string& piece) {
    raw += piece;
    const std::string trimmed = trimmer.push(piece);
    answer.text += trimmed;
    return trimmed.empty() || !on_piece || on_piece(trimmed);
  };
  for (;;) {
    const std::int32_t id = context_->sample(sampler);
    answer.output_ids.push_back(id);
    pending_ = {id};
    if (is_eos(id)) {
      answer.finish_reason = FinishReason::end_of_sequence;
      break;
    }
    const std::string decoded = decoder.push(id);
    ends.push_back((ends.empty() ? 0 : ends.back()) + decoded.size());
    const StopMatcher::Result piece = stops.push(decoded);
    const bool go_on = emit(piece.text);
    if (piece.stopped || !go_on) {
      answer.finish_reason = piece.stopped ? FinishReason::stop_string : FinishReason::callback;
      break;
    }
    options.control.at("generate", static_cast<Index>(answer.output_ids.size()),
                       options.max_new_tokens);
    if (static_cast<Index>(answer.output_ids.size()) == options.max_new_tokens ||
        context_->length() == context_->capacity())
      break;
    context_->step();
    ids_.push_back(id);
  }
  if (answer.finish_reason == FinishReason::end_of_sequence ||
      answer.finish_reason == FinishReason::length) {
    const StopMatcher::Result rest = stops.push(decoder.flush());
    const bool go_on = emit(rest.text);
    if (rest.stopped) answer.finish_reason = FinishReason::stop_string;
    if (!rest.stopped && go_on) emit(stops.flush());
  }
  answer.generate_ms = watch.lap();
  if (answer.finish_reason == FinishReason::stop_string)
    remove_stop_string(answer.output_ids, ends, raw, first_row, first_id);
  dialogue_.answered(raw);
  return answer;
}

/// Removes the tokens of a stop string from the context: `text` is the answer before it, and
/// `ends[i]` the length of the decoded text after output token i. The first output token would be
/// at `first_row` of the context and `first_id` of the ids.
PLLAVA_INLINE void Session::remove_stop_string(const std::vector<std::int32_t>& output,
                                               const std::vector<std::size_t>& ends,
                                               const std::string& text, Index first_row,
                                               std::size_t first_id) {
  std::size_t kept = 0;
  while (kept < ends.size() && ends[kept] <= text.size()) ++kept;
  const std::size_t appended = ids_.size() - first_id;  // the last token is not appended yet
  const std::size_t rows = std::min(kept, appended);
  context_->truncate(first_row + static_cast<Index>(rows));
  ids_.resize(first_id + rows);
  pending_.assign(output.begin() + static_cast<std::ptrdiff_t>(rows),
                  output.begin() + static_cast<std::ptrdiff_t>(kept));
  // The text of a token that the stop string begins in is encoded again.
  const std::size_t end = kept > 0 ? ends[kept - 1] : 0;
  if (end < text.size()) {
    const auto rest = tokenizer_.encode(text.substr(end), {.bos = false,
                                                           .continues = true,
                                                           .within_segment = follows_plain_token(),
                                                           .parse_special = false});
    pending_.insert(pending_.end(), rest.begin(), rest.end());
  }
}

}  // namespace pllava
