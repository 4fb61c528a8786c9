// Sessions: asking, rewinding, failing and sharing.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "pllava/pllava.hpp"
#include "pllava/runtime/detail/piece_trimmer.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pllava;

Pipeline tiny(const cpu::BackendOptions& options = {.threads = 2}, Index context = 1024) {
  return test::tiny_model(options, [=](ModelConfig& config) { config.text.context = context; });
}

Clip clip() {
  return test::moving_clip();
}

GenerateOptions short_answer() {
  GenerateOptions o;
  o.max_new_tokens = 12;
  return o;
}

TEST_CASE("A rewound session answers like a fresh one", "[session]") {
  const Pipeline model = tiny();
  Session session = model.watch(clip());
  const auto video = session.mark();
  const Answer first = session.ask("What happens?", short_answer());
  session.rewind(video);
  const Answer other = session.ask("Who is there?", short_answer());
  session.rewind(video);
  const Answer again = session.ask("What happens?", short_answer());
  CHECK(again.output_ids == first.output_ids);
  CHECK(again.prompt_ids == first.prompt_ids);
  CHECK(model.watch(clip()).ask("Who is there?", short_answer()).output_ids == other.output_ids);
  CHECK(first.output_ids.size() == 12);
  CHECK(first.finish_reason == FinishReason::length);
}

TEST_CASE("A follow-up sees the conversation so far", "[session]") {
  const Pipeline model = tiny();
  Session session = model.watch(clip());
  const Answer first = session.ask("What happens?", short_answer());
  const Index before = session.length();
  const Answer second = session.ask("And then?", short_answer());
  CHECK(session.length() > before);
  CHECK(second.prompt.find("What happens?") != std::string::npos);
  REQUIRE(second.prompt_ids.size() > first.prompt_ids.size());
  CHECK(std::equal(first.prompt_ids.begin(), first.prompt_ids.end(), second.prompt_ids.begin()));
}

TEST_CASE("The callback receives the answer in pieces, and false stops it", "[session]") {
  const Pipeline model = tiny();
  Session session = model.watch(clip());
  const auto video = session.mark();
  std::string pieces;
  const Answer whole = session.ask("What happens?", short_answer(), [&](std::string_view p) {
    pieces += p;
    return true;
  });
  CHECK(pieces == whole.text);
  session.rewind(video);
  const Answer cut =
      session.ask("What happens?", short_answer(), [](std::string_view) { return false; });
  CHECK(cut.finish_reason == FinishReason::callback);
  CHECK(cut.output_ids.size() < whole.output_ids.size());
}

TEST_CASE("A stop string leaves the context with the answer before it", "[session]") {
  const Pipeline model = tiny();
  GenerateOptions varied = short_answer();
  varied.sampling = {.temperature = 1.0f, .seed = 3};
  std::vector<std::string> pieces;
  Session whole = model.watch(clip());
  whole.ask("What happens?", varied, [&](std::string_view p) {
    pieces.emplace_back(p);
    return true;
  });
  // The end of the answer from a token on whose text does not occur earlier.
  std::string text, rest;
  for (const std::string& piece : pieces) text += piece;
  std::size_t kept = 0;
  for (std::size_t size = 0; kept < pieces.size(); size += pieces[kept++].size()) {
    rest = text.substr(size);
    if (kept > 2 && !pieces[kept].empty() && !rest.empty() && text.find(rest) == size) break;
  }
  REQUIRE(kept < pieces.size());

  GenerateOptions cut = varied;
  cut.max_new_tokens = static_cast<Index>(kept);
  Session expected = model.watch(clip());
  expected.ask("What happens?", cut);
  GenerateOptions stopping = varied;
  stopping.stop = {rest};
  Session stopped = model.watch(clip());
  const Answer answer = stopped.ask("What happens?", stopping);
  CHECK(answer.finish_reason == FinishReason::stop_string);
  CHECK(answer.output_ids.size() > kept);
  const Answer follow_up = stopped.ask("And then?", short_answer());
  const Answer expected_follow_up = expected.ask("And then?", short_answer());
  CHECK(follow_up.prompt_ids == expected_follow_up.prompt_ids);
  CHECK(follow_up.output_ids == expected_follow_up.output_ids);
}

TEST_CASE("Streamed pieces are the text without white space at its ends", "[session]") {
  using detail::PieceTrimmer;
  const auto pieces = [](std::initializer_list<std::string_view> given) {
    PieceTrimmer trimmer;
    std::vector<std::string> result;
    for (const std::string_view piece : given) result.push_back(trimmer.push(piece));
    return result;
  };
  using Pieces = std::vector<std::string>;
  CHECK(pieces({" ", "\n A", " man", " ", "\n", "runs. ", " "}) ==
        Pieces{"", "A", " man", "", "", " \nruns.", ""});
  CHECK(pieces({" \t", ""}) == Pieces{"", ""});
}

TEST_CASE("The oldest turns of a full context can be forgotten", "[session]") {
  const Pipeline model = tiny();
  Session session = model.watch(clip());
  const Index empty = session.length();
  CHECK_FALSE(session.forget_oldest_turn());
  session.ask("What happens?", short_answer());
  CHECK(session.forget_oldest_turn());
  CHECK(session.length() == empty);
  const Answer again = session.ask("And now?", short_answer());
  Session fresh = model.watch(clip());
  const Answer expected = fresh.ask("And now?", short_answer());
  CHECK(again.prompt_ids == expected.prompt_ids);
  CHECK(again.output_ids == expected.output_ids);

  session.ask("Who is it?", short_answer());
  const auto mark = session.mark();
  CHECK(session.forget_oldest_turn());
  CHECK_THROWS_AS(session.rewind(mark), ArgumentError);
  const Answer third = session.ask("Where?", short_answer());
  CHECK(third.prompt.find("And now?") == std::string::npos);
  CHECK(third.prompt.starts_with("USER:<image> Who is it? ASSISTANT:"));
  CHECK(third.prompt_ids == model.tokenizer().encode(third.prompt));

  WatchOptions small;
  small.capacity = empty + 150;
  Session full = model.watch(clip(), small);
  Index asked = 0, forgotten = 0;
  while (asked < 8) {
    try {
      full.ask("Is there a question " + std::to_string(asked) + "?", short_answer());
      ++asked;
    } catch (const ContextError&) {
      REQUIRE(full.forget_oldest_turn());
      ++forgotten;
    }
  }
  CHECK(forgotten > 0);

  CancelSource cancel;
  cancel.cancel();
  CHECK_THROWS_AS(full.forget_oldest_turn({cancel.token(), {}}), CancelledError);
  CHECK(full.length() == empty);
  CHECK(full.ask("And now?", short_answer()).output_ids == expected.output_ids);
}

TEST_CASE("Marks of other sessions and calls from a callback are refused", "[session]") {
  const Pipeline model = tiny();
  Session session = model.watch(clip()), other = model.watch(clip());
  const auto mark = session.mark();
  CHECK_THROWS_AS(other.rewind(mark), ArgumentError);
  session.ask("What happens?", short_answer());
  const auto later = session.mark();
  session.rewind(mark);
  session.ask("Is there a very different and long question?", short_answer());
  CHECK_THROWS_AS(session.rewind(later), ArgumentError);  // that conversation is gone
  session.rewind(mark);

  const Index length = session.length();
  for (const bool asks : {true, false})
    CHECK_THROWS_AS(session.ask("Again?", short_answer(),
                                [&](std::string_view) {
                                  if (asks)
                                    session.ask("Nested?", short_answer());
                                  else
                                    session.rewind(mark);
                                  return true;
                                }),
                    ArgumentError);
  CHECK(session.length() == length);
  CHECK(session.ask("What happens?", short_answer()).output_ids.size() == 12);

  Session moved = std::move(session);
  CHECK_THROWS_AS(session.ask("What happens?"), ArgumentError);  // NOLINT: use after move
  CHECK_THROWS_AS(session.length(), ArgumentError);              // NOLINT
  moved.rewind(mark);
  CHECK(moved.length() == length);
}

TEST_CASE("Failed questions leave the session as it was", "[session]") {
  const Pipeline model = tiny();
  Session session = model.watch(clip());
  const auto video = session.mark();
  const Index rows = session.length();
  const Answer expected = session.ask("What happens?", short_answer());
  session.rewind(video);

  CHECK_THROWS_AS(session.ask("\xff\xfe", short_answer()), PromptError);
  CHECK(session.length() == rows);
  CHECK_THROWS_AS(session.ask(std::string(20000, 'x'), short_answer()), ContextError);
  CHECK(session.length() == rows);
  std::atomic<bool> cancel{true};
  GenerateOptions cancelled = short_answer();
  cancelled.control.cancel = &cancel;
  CHECK_THROWS_AS(session.ask("What happens?", cancelled), CancelledError);
  CHECK(session.length() == rows);
  CHECK_THROWS_AS(session.ask("What happens?", short_answer(),
                              [](std::string_view) -> bool { throw std::runtime_error("mine"); }),
                  std::runtime_error);
  CHECK(session.length() == rows);
  GenerateOptions nothing = short_answer();
  nothing.max_new_tokens = 0;
  CHECK_THROWS_AS(session.ask("What happens?", nothing), ArgumentError);

  CHECK(session.ask("What happens?", short_answer()).output_ids == expected.output_ids);
}

TEST_CASE("Watching an invalid clip, template or context is refused", "[session]") {
  const Pipeline model = tiny();
  CHECK_THROWS_AS(model.watch(Clip{}), MediaError);
  WatchOptions unknown;
  unknown.conversation_template = "no such template";
  CHECK_THROWS_AS(model.watch(clip(), unknown), PromptError);
  std::atomic<bool> cancel{true};
  WatchOptions cancelled;
  cancelled.control.cancel = &cancel;
  CHECK_THROWS_AS(model.watch(clip(), cancelled), CancelledError);
  try {
    tiny({.threads = 1}, 40).watch(clip());
    FAIL("a video of 64 rows fitted into 40");
  } catch (const ContextError& e) {
    CHECK(e.available() == 40);
    CHECK(e.needed() > 64);
  }
}

TEST_CASE("The task's template follows the model's chat format", "[session]") {
  constexpr std::int32_t image = 259, im_start = 260, im_end = 261;
  TokenizerParts parts;
  parts.source = "bytes and ChatML tokens";
  parts.vocab = {"<unk>", "<s>", "</s>"};
  constexpr std::string_view digits = "0123456789ABCDEF";
  for (std::size_t b = 0; b < 256; ++b)
    parts.vocab.push_back({'<', '0', 'x', digits[b / 16], digits[b % 16], '>'});
  parts.added_tokens = {{2, "</s>", true},
                        {image, std::string(kVideoToken), true},
                        {im_start, "<|im_start|>", true},
                        {im_end, "<|im_end|>", true}};
  parts.byte_fallback = parts.decode_bytes = true;
  parts.prefix_ids = {1};
  const Tokenizer tokenizer{parts};

  const auto prompt = [&](Index eos, const WatchOptions& options) {
    ModelConfig config = ModelConfig::preset("tiny");
    config.image_token = image;
    config.text.vocab = std::max(config.text.vocab, tokenizer.size());
    config.text.context = 2048;
    config.eos_tokens = {eos};
    PreprocessConfig preprocess;
    preprocess.image_size = config.vision.image_size;
    const Pipeline model{cpu::Backend({.threads = 2}), config, RandomWeights::scope(7), tokenizer,
                         preprocess};
    return model.watch(clip(), options).ask("Why?", short_answer()).prompt;
  };
  WatchOptions options;
  options.task = "vcgbench";
  const std::string system = conversation_template("eval_vcgbench").system;
  const std::string vicuna = system + " USER: <image>\n USER: Why? ASSISTANT:";
  const std::string chatml = system +
                             "<|im_end|>\n<|im_start|>user\n<image>\n<|im_end|>\n"
                             "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n";
  CHECK(prompt(2, options) == vicuna);
  CHECK(prompt(im_end, options) == chatml);
  options.conversation_template = "eval_vcgbench";
  CHECK(prompt(im_end, options) == vicuna);
  options.conversation_template = "eval_vcg_llavanext";
  CHECK(prompt(2, options) == chatml);
  CHECK(prompt(im_end, {}) == "USER:<image> Why? ASSISTANT:");
}

TEST_CASE("The template is the user's, else the model's own", "[session]") {
  const Pipeline model =
      test::tiny_model({}, [](ModelConfig& config) { config.conversation_template = "llava"; });
  const auto prompt = [&](const WatchOptions& options) {
    return model.watch(clip(), options).ask("Why?", short_answer()).prompt;
  };
  WatchOptions options;
  CHECK(prompt(options) == "USER: <image>\nWhy? ASSISTANT:");
  options.conversation_template = "plain";
  CHECK(prompt(options) == "USER:<image> Why? ASSISTANT:");
  options.own_template = conversation_template("llava");
  options.own_template->roles[0] = "Q: ";
  CHECK(prompt(options) == "Q: <image>\nWhy? ASSISTANT:");
}

TEST_CASE("A template without an end of the answer keeps none in the context", "[session]") {
  const auto model_ending_with = [](const std::vector<Index>& eos) {
    return test::tiny_model({}, [&](ModelConfig& config) {
      config.conversation_template = "llava";
      config.eos_tokens = eos;
    });
  };
  const Answer probe = model_ending_with({2}).watch(clip()).ask("Why?", short_answer());
  const Pipeline model = model_ending_with({probe.output_ids.at(0)});
  Session session = model.watch(clip());
  const Answer first = session.ask("Why?", short_answer());
  REQUIRE(first.finish_reason == FinishReason::end_of_sequence);
  const Answer second = session.ask("And?", short_answer());
  CHECK(second.prompt == "USER: <image>\nWhy? ASSISTANT: USER: And? ASSISTANT:");
  const std::vector<std::int32_t> ids = model.tokenizer().encode(second.prompt);
  CHECK(second.prompt_ids == ids);
}

TEST_CASE("Special tokens in a question are text unless asked for", "[session]") {
  const Pipeline model = tiny();
  const std::int32_t image = static_cast<std::int32_t>(model.config().image_token);
  const auto count = [](const std::vector<std::int32_t>& ids, std::int32_t id) {
    return std::count(ids.begin(), ids.end(), id);
  };
  Session session = model.watch(clip());
  const auto start = session.mark();
  const Answer plain = session.ask("A </s> and <image>?", short_answer());
  CHECK(plain.prompt == "USER:<image> A </s> and <image>? ASSISTANT:");
  CHECK(count(plain.prompt_ids, 2) == 0);
  CHECK(count(plain.prompt_ids, image) == 1);
  const Answer follow_up = session.ask("And?", short_answer());
  CHECK(count(follow_up.prompt_ids, image) == 1);
  CHECK(count(follow_up.prompt_ids, 2) == 1);  // the template's separator

  session.rewind(start);
  GenerateOptions parse = short_answer();
  parse.parse_special = true;
  CHECK_THROWS_AS(session.ask("A </s> and <image>?", parse), PromptError);
  const Answer parsed = session.ask("A </s>?", parse);
  CHECK(count(parsed.prompt_ids, 2) == 1);
  session.ask("Is </s> plain?", short_answer());
  REQUIRE(session.forget_oldest_turn());
  const Answer later = session.ask("And now?", short_answer());
  CHECK(count(later.prompt_ids, 2) == 1);  // the separator again
}

TEST_CASE("Cancelling stops each stage with an error that names it", "[session]") {
  const Pipeline model = tiny();
  for (const std::string stage : {"preprocess", "vision", "project", "prefill"}) {
    std::atomic<bool> cancel{false};
    WatchOptions options;
    options.control.cancel = &cancel;
    options.control.progress = [&](std::string_view at, Index, Index) {
      if (at == stage) cancel = true;
    };
    try {
      model.watch(clip(), options);
      FAIL("not cancelled during " << stage);
    } catch (const CancelledError& e) {
      CHECK(std::string(e.what()).starts_with("cancelled during"));
    }
  }
}

TEST_CASE("Cancelling an answer half-way leaves the session as it was", "[session]") {
  const Pipeline model = tiny();
  Session session = model.watch(clip());
  const auto video = session.mark();
  const Answer expected = session.ask("What happens?", short_answer());
  session.rewind(video);
  for (const std::string stage : {"prefill", "generate"}) {
    std::atomic<bool> cancel{false};
    GenerateOptions options = short_answer();
    options.control.cancel = &cancel;
    options.control.progress = [&](std::string_view at, Index done, Index) {
      if (at == stage && (at == "prefill" || done == 5)) cancel = true;
    };
    const Index rows = session.length();
    CHECK(test::contains(
        test::message_of<CancelledError>([&] { session.ask("What happens?", options); }), stage));
    CHECK(session.length() == rows);
  }
  CHECK(session.ask("What happens?", short_answer()).output_ids == expected.output_ids);
}

TEST_CASE("A trace holds pixels, features and embeddings", "[session]") {
  const Pipeline model = tiny();
  WatchOptions options;
  options.trace = true;
  const Clip watched = clip();
  const Session session = model.watch(watched, options);
  const Trace& trace = session.report().trace;
  const ModelConfig& c = model.config();
  CHECK(trace.pixel_values == preprocess(watched, model.preprocess_config()));
  CHECK(static_cast<Index>(trace.vision_features.size()) ==
        16 * c.vision.patches() * c.vision.width);
  CHECK(static_cast<Index>(trace.video_embeddings.size()) == c.pool.output.count() * c.text.width);
  CHECK(model.watch(watched).report().trace.pixel_values.empty());
}

TEST_CASE("Answers do not depend on the number of threads", "[session]") {
  const auto answer = [](Index threads, DType dtype) {
    return tiny({.dtype = dtype, .threads = threads})
        .watch(clip())
        .ask("What happens?", short_answer())
        .output_ids;
  };
  for (const DType dtype : {DType::f32, DType::bf16}) CHECK(answer(1, dtype) == answer(3, dtype));
}

TEST_CASE("Many sessions on many threads share one set of weights", "[session][threads]") {
  const Pipeline model = tiny();
  const Answer expected = model.watch(clip()).ask("What happens?", short_answer());
  std::vector<std::vector<std::int32_t>> got(4);
  std::vector<std::thread> threads;
  for (auto& ids : got)
    threads.emplace_back([&model, &ids] {
      Session session = model.watch(clip());
      const auto video = session.mark();
      for (int i = 0; i < 2; ++i) {
        session.rewind(video);
        ids = session.ask("What happens?", short_answer()).output_ids;
      }
    });
  for (std::thread& t : threads) t.join();
  for (const auto& ids : got) CHECK(ids == expected.output_ids);
}

}  // namespace
