// The subcommands, with their options and help texts. Invalid combinations of options are rejected
// here, before a model is loaded.
#include "command_line.hpp"

#include <filesystem>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>

#include "model.hpp"
#include "option_groups.hpp"
#include "output.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/version.hpp"
#include "validators.hpp"

namespace cli {
namespace {

CLI::App& add_command(CLI::App& app, Options& o, Command command, const char* name,
                      const char* description, const char* footer) {
  CLI::App* added = app.add_subcommand(name, description);
  added->final_callback([&o, command] { o.command = command; });
  added->footer(footer);
  return *added;
}

void add_caption(CLI::App& app, Options& o) {
  CLI::App& caption =
      add_command(app, o, Command::caption, "caption", "Describe each video.",
                  "Examples:\n"
                  "  pllava caption cat.mp4 --model pllava-7b\n"
                  "  pllava caption *.mp4 --model pllava-7b --json > captions.jsonl\n"
                  "If a video cannot be read, the error is reported, the other videos are "
                  "described, and the\nexit code is 1.");
  add_videos(caption, o);
  add_prompt(caption, o);
  add_clip(caption, o);
  add_answering(caption, o);
}

void add_ask(CLI::App& app, Options& o) {
  CLI::App& ask = add_command(
      app, o, Command::ask, "ask", "Answer questions about one video, which is encoded once.",
      "Examples:\n"
      "  pllava ask cat.mp4 \"What is the cat doing?\" \"Where is it?\" --model pllava-7b\n"
      "  pllava ask match.mp4 \"Who scores?\" --start 60 --end 90 --model pllava-7b\n"
      "The questions are independent of each other. Use chat for follow-up questions.");
  add_video(ask, o);
  ask.add_option("QUESTION", o.questions, "questions, answered independently")
      ->required()
      ->type_name("");
  add_clip(ask, o);
  add_answering(ask, o);
}

void add_chat(CLI::App& app, Options& o) {
  CLI::App& chat = add_command(
      app, o, Command::chat, "chat",
      "Chat about one video: questions are read from stdin, one per line.",
      "Examples:\n"
      "  pllava chat cat.mp4 --model pllava-7b --template demo\n"
      "  pllava chat cat.mp4 --model pllava-7b --json < questions.txt\n"
      "The conversation includes the previous questions and answers. Ctrl-D ends the chat.");
  add_video(chat, o);
  add_clip(chat, o);
  add_answering(chat, o);
  chat.add_flag("--forget-oldest", o.forget_oldest,
                "when the context is full, forget the oldest questions and answers");
}

void add_watch(CLI::App& app, Options& o) {
  CLI::App& watch = add_command(
      app, o, Command::watch, "watch",
      "Ask about the last seconds of a live video, again and again.",
      "Examples:\n"
      "  pllava watch rtsp://camera/stream --ask \"Is anybody at the door?\" --model pllava-7b\n"
      "  pllava watch /dev/video0 --ask \"What happens?\" --every 5s --fps 2 --model pllava-7b\n"
      "  libcamera-vid -t 0 -o - | pllava watch - --follow --ask \"What happens?\" --model m\n"
      "  pllava watch day.mp4 --ask \"Who enters?\" --json --model pllava-7b > events.jsonl\n"
      "Each answer is about a window of the last frames. A new frame is encoded once, when it "
      "enters.\n"
      "Frames of a live source that come while the model works are left out, except the newest; a "
      "file\n"
      "is read whole. Times are those of the source. A directory of --record replays a run: its "
      "events\n"
      "are the same, except for timings_ms and live. Ctrl-C ends the command.");
  add_video(watch, o);
  add_window(watch, o);
  add_source(watch, o);
  add_answering(watch, o);
}

void add_trace(CLI::App& app, Options& o) {
  CLI::App& trace = add_command(
      app, o, Command::trace, "trace", "Write the intermediate tensors of one run to a file.",
      "Example:\n"
      "  pllava trace cat.mp4 --model pllava-7b --out trace.safetensors\n"
      "Tensors: frame_indices (T), frames (T,S,S,3), pixel_values (T,3,S,S), vision_features "
      "(T,P,D),\n"
      "video_embeddings (N,D), prompt_ids, logits (V) of the first new token.");
  add_video(trace, o);
  trace.add_option("--out", o.out, "safetensors file to write")->required()->type_name("FILE");
  add_prompt(trace, o);
  add_model(trace, o);
  add_clip(trace, o);
  add_conversation_template(trace, o);
  trace.add_flag("--quiet", o.quiet, "no progress on stderr, no file name on stdout");
}

void add_inspect(CLI::App& app, Options& o) {
  CLI::App& inspect = add_command(
      app, o, Command::inspect, "inspect", "Show a checkpoint's configuration and memory use.",
      "Examples:\n"
      "  pllava inspect pllava-7b\n"
      "  pllava inspect adapter --base llava-1.5-7b-hf --json\n"
      "  pllava inspect text.gguf --mmproj vision.gguf\n"
      "Weights are not read. Tensors that do not match the configuration are listed, and the exit "
      "code\nis then 1.");
  add_checkpoint(inspect, o);
  add_mmproj(inspect, o);
  inspect.add_flag("--json", o.json, "write one JSON object");
}

void add_bench(CLI::App& app, Options& o) {
  CLI::App& bench = add_command(
      app, o, Command::bench, "bench", "Benchmark a model on this machine.",
      "Examples:\n"
      "  pllava bench --random-weights 7b --dtype bf16\n"
      "  pllava bench --model pllava-7b --device cuda --json\n"
      "Each part runs once as a warm-up and then --runs times. The table shows medians, and the "
      "ceiling\n"
      "of the part: the machine's peak operations or bytes per second, measured before each run.\n"
      "Reached (of_ceiling in JSON) is the fraction of the ceiling. A run of decode generates 8 "
      "tokens;\n"
      "its time is per token.");
  add_model(bench, o);
  bench
      .add_option("--frames", o.frames,
                  "frames of the clip (default: from the checkpoint, usually 16)")
      ->check(positive_integer());
  bench.add_option("--text-rows", o.text_rows, "tokens of the question (default 96)")
      ->check(positive_integer());
  bench.add_option("--runs", o.runs, "runs of each part (default 5)")->check(positive_integer());
  bench.add_option("--until", o.until, "last part to run (default: all six)")
      ->check(CLI::IsMember({"vision", "projector", "prefill", "decode", "second question"}));
  bench.add_flag("--json", o.json, "write one JSON object");
  bench.add_flag("--quiet", o.quiet, "no progress on stderr");
}

void add_quantize(CLI::App& app, Options& o) {
  CLI::App& quantize = add_command(
      app, o, Command::quantize, "quantize", "Write a checkpoint with quantized weights.",
      "Examples:\n"
      "  pllava quantize pllava-7b --dtype int4 --out pllava-7b-int4\n"
      "  pllava quantize pllava-7b --dtype int4 --calibrate cat.mp4 english.txt --out "
      "pllava-7b-gptq\n"
      "  pllava quantize pllava-7b --vision-weights int8 --out pllava-7b-vision\n"
      "LoRA is merged before quantization. The new directory appears only when it is complete. It "
      "loads\nlike any checkpoint and gives the same answers as MODEL with the same weight "
      "options.\n"
      "With --calibrate the unquantized model first describes the given videos and reads the "
      "given\n"
      "texts (.txt, .md). Each matrix is then quantized so that the errors of its weights cancel "
      "on\n"
      "these inputs (GPTQ, arXiv 2210.17323). Texts of 4,000 tokens and a few videos similar to "
      "the\n"
      "intended ones are enough. Size and speed are unchanged. The error of the outputs is "
      "printed.");
  add_checkpoint(quantize, o);
  quantize.add_option("--out", o.out, "directory to write; must not exist")
      ->required()
      ->type_name("DIR");
  add_types(quantize, o);
  CLI::Option* calibrate =
      quantize
          .add_option("--calibrate", o.calibrate,
                      "int8, int4: calibrate the matrices on these videos and texts (GPTQ)")
          ->type_name("FILE");
  quantize.add_flag("--json", o.json, "write one JSON object: the error of each matrix")
      ->needs(calibrate);
  quantize.add_flag("--quiet", o.quiet, "no progress on stderr");
}

void add_quality(CLI::App& app, Options& o) {
  CLI::App& quality = add_command(
      app, o, Command::quality, "quality",
      "Compare the predictions of a model with those of another, or of another type.",
      "Examples:\n"
      "  pllava quality --model pllava-7b --dtype int4 --text english.txt\n"
      "  pllava quality --model my-int4 --against pllava-7b --text english.txt --video cat.mp4\n"
      "Both models read the same tokens. Mean KL divergence (nats) is the distance of the "
      "next-token\n"
      "distributions from those of the model compared with; 0 is equal. Perplexity is that of the "
      "text.\n"
      "The error of the features is relative (L2). Both models are in memory at the same time.");
  add_model(quality, o);
  add_comparison(quality, o);
  quality.add_flag("--json", o.json,
                   "write one JSON object: tokens, mean_kl, same_top, perplexity, base_perplexity, "
                   "feature_l2");
  quality.add_flag("--quiet", o.quiet, "no progress on stderr");
}

void add_write_random(CLI::App& app, Options& o) {
  CLI::App& random =
      add_command(app, o, Command::write_random, "write-random",
                  "Write a checkpoint of random weights, for tests without a real model.",
                  "Example:\n"
                  "  pllava write-random --out tiny --tokenizer pllava-7b/tokenizer.json");
  random.add_option("--out", o.out, "directory to write; must not exist")
      ->required()
      ->type_name("DIR");
  random.add_option("--preset", o.preset, "size: tiny (default), 7b, 13b or 34b")
      ->type_name("PRESET")
      ->check(known(pllava::ModelConfig::preset));
  random.add_option("--tokenizer", o.tokenizer, "tokenizer.json to copy")
      ->required()
      ->type_name("FILE");
  random.add_option("--seed", o.generate.sampling.seed, "seed of the weights (default 0)")
      ->check(non_negative_integer());
}

void check_quantize(const Options& o) {
  const pllava::QuantizeOptions formats = quantize_options(o);
  if (!formats.any()) throw CLI::ValidationError("quantize needs --dtype int8, int4 or fp8");
  if (!o.calibrate.empty() && !is_rotated(formats.language) && !is_rotated(formats.vision))
    throw CLI::ValidationError("--calibrate needs weights in int8 or int4");
}

/// Checks the options of commands that run a model.
void check_model(const Options& o) {
  if (o.model.empty() == o.random_weights.empty())
    throw CLI::ValidationError("expected either --model or --random-weights");
  if (!o.mmproj.empty() && o.model.empty()) throw CLI::ValidationError("--mmproj needs --model");
  if (!o.cache.empty() && (o.gpu || o.model.empty()))
    throw CLI::ValidationError("--cache needs --model and --device cpu");
  if (o.dtype == pllava::DType::f16 && !o.gpu)
    throw CLI::ValidationError("--dtype f16 needs --device cuda");
  const pllava::QuantizeOptions formats = quantize_options(o);
  for (const pllava::Quantization& q : {formats.vision, formats.language})
    if (q.format == pllava::WeightFormat::fp8 && !o.gpu)
      throw CLI::ValidationError("fp8 weights need --device cuda");
  if (o.sampling == pllava::SamplingRule::demo && (o.start || o.end))
    throw CLI::ValidationError("--start and --end need --sampling eval or time");
  if (o.start && o.end && *o.start > *o.end) throw CLI::ValidationError("--start is after --end");
}

/// Rejects combinations of options that cannot work. Throws CLI::ValidationError.
void check_combination(const Options& o) {
  switch (o.command) {
    case Command::inspect:
    case Command::write_random: return;
    case Command::quantize: return check_quantize(o);
    case Command::quality:
      if (o.model.empty()) throw CLI::ValidationError("quality needs --model");
      if (!o.cache.empty()) throw CLI::ValidationError("quality does not use --cache");
      return check_model(o);
    default: return check_model(o);
  }
}

/// For an argument that is taken for an option but is the name of a file. Empty if there is none.
std::string hint_at_dashes(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    std::error_code ignored;
    if (argument == "--") return {};
    if (argument.starts_with('-') && argument != "-" && std::filesystem::exists(argument, ignored))
      return "; " + argument + " is a file: write ./" + argument + ", or -- before it";
  }
  return {};
}

}  // namespace

std::optional<int> parse_command_line(int argc, char** argv, Options& options) {
  CLI::App app{"Caption videos and ask questions about them with PLLaVA.", "pllava"};
  app.set_version_flag("--version", "pllava " PLLAVA_VERSION);
  // A missing command is rejected after parsing, so that an unknown argument is reported first.
  app.require_subcommand(0, 1);
  app.footer(
      "Example: pllava caption cat.mp4 --model pllava-7b\n"
      "Help of a command: pllava caption --help\n"
      "Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.");
  for (const auto add : {add_caption, add_ask, add_chat, add_watch, add_trace, add_inspect,
                         add_bench, add_quantize, add_quality, add_write_random})
    add(app, options);
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) throw CLI::ValidationError("expected a command");
    check_combination(options);
    return std::nullopt;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help or --version
    report_error(std::string(e.what()) + " (see pllava --help)" + hint_at_dashes(argc, argv));
    return kWrongUsage;
  }
}

}  // namespace cli
