// Session: prompt, prefill, token loop.
#pragma once

#include <algorithm>

#include "pllava/core/stopwatch.hpp"
#include "pllava/media/frame_sampling.hpp"
#include "pllava/runtime/session.hpp"

namespace pllava {

namespace detail {

PLLAVA_INLINE Dialogue make_dialogue(const WatchOptions& options) {
  const TaskPrompt task = options.task.empty() ? TaskPrompt{} : task_prompt(options.task);
  const std::string key = !options.wording.empty()     ? options.wording
                          : !task.template_key.empty() ? task.template_key
                                                       : "plain";
  ConversationTemplate wording = conversation_template(key);
  if (!options.system.empty()) wording.system = options.system;
  return Dialogue(std::move(wording), task);
}

/// The frames that the model sees. A clip shorter than the model's repeats its own, as the sampling
/// rule does with a file of that length; a longer one is pooled over time.
PLLAVA_INLINE std::vector<Frame> frames_for_model(const Clip& clip, Index wanted) {
  const auto given = static_cast<Index>(clip.frames.size());
  if (given == 0) throw MediaError(clip.source, "a clip without frames");
  if (given >= wanted) return clip.frames;
  std::vector<Frame> frames;
  for (const Index i : demo_indices(given, wanted))
    frames.push_back(clip.frames[static_cast<std::size_t>(i)]);
  return frames;
}

PLLAVA_INLINE std::string trimmed(const std::string& text) {
  const char* space = " \t\n\r\f\v";
  const std::size_t begin = text.find_first_not_of(space);
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

}  // namespace detail

PLLAVA_INLINE Session::Session(std::shared_ptr<const Model> model, Tokenizer tokenizer,
                               const PreprocessConfig& pixels, const Clip& clip,
                               const WatchOptions& options)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      engine_(model_->make_engine(options.capacity)),
      dialogue_(detail::make_dialogue(options)) {
  const ModelConfig& config = model_->config();
  const std::vector<Frame> frames = detail::frames_for_model(clip, config.frames);
  ids_ = tokenizer_.encode(dialogue_.prefix());
  if (ids_.empty() || ids_.back() != static_cast<std::int32_t>(config.image_token))
    throw PromptError("the tokenizer does not give the image token " +
                      std::to_string(config.image_token) + " for \"" + std::string(kVideoToken) +
                      "\"");
  const Index rows = static_cast<Index>(ids_.size()) - 1 + config.pool.output.count();
  if (rows > engine_->capacity()) throw ContextError("the video", rows, engine_->capacity());
  if (ids_.size() > 1)  // a few words of the system's: no progress worth reporting
    engine_->append_tokens({ids_.data(), ids_.size() - 1}, {options.control.cancel, {}});
  report_.video = engine_->append_video(frames, pixels, options.control,
                                        options.trace ? &report_.trace : nullptr);
  report_.prefix_rows = engine_->length();
}

PLLAVA_INLINE Session::Mark Session::mark() const {
  Mark mark(dialogue_);
  mark.rows = engine_->length();
  mark.ids = ids_.size();
  mark.pending = pending_;
  return mark;
}

PLLAVA_INLINE void Session::rewind(const Mark& mark) {
  if (mark.rows > engine_->length() || mark.ids > ids_.size())
    throw ArgumentError("rewind: the mark lies after the present point of the session");
  engine_->truncate(mark.rows);
  ids_.resize(mark.ids);
  pending_ = mark.pending;
  dialogue_ = mark.dialogue;
}

PLLAVA_INLINE Answer Session::ask(const std::string& question, const GenerateOptions& options,
                                  const PieceCallback& on_piece) {
  if (options.max_new_tokens < 1)
    throw ArgumentError("max_new_tokens must be at least 1, got " +
                        std::to_string(options.max_new_tokens));
  options.sampling.validate();
  const Mark before = mark();
  try {
    Answer answer;
    const ModelConfig& config = model_->config();
    const std::vector<std::int32_t> eos(config.eos_tokens.begin(), config.eos_tokens.end());
    const auto is_eos = [&](std::int32_t id) { return std::ranges::count(eos, id) > 0; };

    // The answer before is in the cache but for its last token. Its separator is the
    // end-of-sequence token where the template says "</s>": given once.
    std::vector<std::int32_t> text =
        tokenizer_.encode(dialogue_.ask(question), {.bos = false, .continues = true});
    if (!pending_.empty() && !text.empty() && is_eos(pending_.back()) && text[0] == pending_.back())
      pending_.pop_back();
    text.insert(text.begin(), pending_.begin(), pending_.end());
    pending_.clear();
    ids_.insert(ids_.end(), text.begin(), text.end());
    const Index needed = engine_->length() + static_cast<Index>(text.size()) + 1;
    if (needed > engine_->capacity())
      throw ContextError("the conversation", needed, engine_->capacity());

    answer.prompt = dialogue_.prompt();
    answer.prompt_ids = ids_;
    Sampler sampler(options.sampling, eos);
    sampler.observe(ids_);
    StreamDecoder decoder(tokenizer_, {.continues = true});
    StopMatcher stops(options.stop);
    std::string raw;
    Stopwatch watch;
    engine_->append_tokens(text, options.control);
    first_logits_ = engine_->logits();
    answer.prefill_ms = watch.lap();

    const auto emit = [&](const std::string& piece) {
      if (piece.empty()) return true;
      raw += piece;
      return !on_piece || on_piece(piece);
    };
    for (;;) {
      const std::int32_t id = engine_->sample(sampler);
      answer.output_ids.push_back(id);
      pending_ = {id};
      if (is_eos(id)) {
        answer.finish_reason = FinishReason::end_of_sequence;
        break;
      }
      const StopMatcher::Result piece = stops.push(decoder.push(id));
      const bool go_on = emit(piece.text);
      if (piece.stopped || !go_on) {
        answer.finish_reason = piece.stopped ? FinishReason::stop_string : FinishReason::callback;
        break;
      }
      options.control.at("generate", static_cast<Index>(answer.output_ids.size()),
                         options.max_new_tokens);
      if (static_cast<Index>(answer.output_ids.size()) == options.max_new_tokens ||
          engine_->length() == engine_->capacity())
        break;
      engine_->step();
      ids_.push_back(id);
    }
    if (answer.finish_reason == FinishReason::end_of_sequence ||
        answer.finish_reason == FinishReason::length) {
      const StopMatcher::Result rest = stops.push(decoder.flush());
      emit(rest.text);
      if (!rest.stopped) emit(stops.flush());
    }
    answer.generate_ms = watch.lap();
    dialogue_.answered(raw);
    answer.text = detail::trimmed(raw);
    return answer;
  } catch (...) {
    rewind(before);
    throw;
  }
}

}  // namespace pllava
