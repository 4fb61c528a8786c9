// The commands, their options and their help. Values without sense are refused here, so that
// nothing is loaded for a run that cannot succeed.
#include "command_line.hpp"

#include <charconv>
#include <cmath>
#include <functional>
#include <map>
#include <sstream>
#include <tuple>
#include <utility>

#include <CLI/CLI.hpp>

#include "model.hpp"
#include "output.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/text/prompt.hpp"
#include "pllava/version.hpp"

namespace cli {
namespace {

constexpr const char* kVideoHelp = "video file, GIF, picture or directory of frames";

/// A number of type T for which `good` holds; `expected` says so in words.
template <class T>
CLI::Validator number(const std::string& expected, bool (*good)(T)) {
  return CLI::Validator(
      [=](std::string& text) {
        T value{};
        const bool ok = CLI::detail::lexical_cast(text, value) && good(value);
        return ok ? std::string() : "expected " + expected + ", got " + text;
      },
      "");
}

CLI::Validator count() {
  return number<Index>("1 or more", [](Index n) { return n >= 1; });
}

CLI::Validator natural() {
  return number<Index>("0 or more", [](Index n) { return n >= 0; });
}

CLI::Validator not_negative() {
  return number<double>("0 or more", [](double x) { return std::isfinite(x) && x >= 0; });
}

/// A name that `lookup` knows; its error lists those that there are.
template <class Lookup>
CLI::Validator known(Lookup lookup) {
  return CLI::Validator(
      [lookup](std::string& name) -> std::string {
        try {
          lookup(name);
          return {};
        } catch (const pllava::Error& e) {
          return e.what();
        }
      },
      "");
}

/// A choice between named values.
template <class T>
CLI::Option* add_choice(CLI::App& app, const std::string& name, const std::function<void(T)>& set,
                        const std::map<std::string, T>& choices, const std::string& help) {
  std::string names;
  for (const auto& [key, unused] : choices) names += (names.empty() ? "" : "|") + key;
  return app
      .add_option_function<std::string>(
          name,
          [set, choices, names, name](const std::string& text) {
            const auto found = choices.find(text);
            if (found == choices.end())
              throw CLI::ValidationError(name, "expected " + names + ", got " + text);
            set(found->second);
          },
          help)
      ->type_name(names);
}

template <class T, class Value>
CLI::Option* add_choice(CLI::App& app, const std::string& name, Value& value,
                        const std::map<std::string, T>& choices, const std::string& help) {
  return add_choice<T>(
      app, name, [&value](T chosen) { value = chosen; }, choices, help);
}

pllava::Grid parse_grid(const std::string& text) {
  constexpr Index kMost = 10000;  // an axis; keeps the product of three far from overflow
  pllava::Grid g;
  char x = 0, y = 0, rest = 0;
  std::istringstream in(text);
  const auto good = [](Index n) { return n >= 1 && n <= kMost; };
  if (!(in >> g.t >> x >> g.h >> y >> g.w) || x != 'x' || y != 'x' || in >> rest || !good(g.t) ||
      !good(g.h) || !good(g.w))
    throw CLI::ValidationError("--pool", "expected TxHxW, for example 16x12x12, got " + text);
  return g;
}

/// The number of a GPU; none for the CPU.
std::optional<int> parse_device(const std::string& text) {
  if (text == "cpu") return std::nullopt;
  int device = 0;
  const std::string number = text.starts_with("cuda:") ? text.substr(5) : "0";
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), device);
  const bool whole = error == std::errc() && end == number.data() + number.size() && device >= 0;
  if ((text != "cuda" && !text.starts_with("cuda:")) || !whole)
    throw CLI::ValidationError("--device", "expected cpu, cuda or cuda:N, got " + text);
  return device;
}

/// Types of the computation and of the weights.
void add_types(CLI::App& app, Options& o) {
  using pllava::DType, pllava::WeightFormat;
  using Type = std::pair<DType, WeightFormat>;
  add_choice<Type>(
      app, "--dtype", [&o](Type type) { std::tie(o.dtype, o.weights) = type; },
      {{"f32", {DType::f32, WeightFormat::unquantized}},
       {"bf16", {DType::bf16, WeightFormat::unquantized}},
       {"f16", {DType::f16, WeightFormat::unquantized}},
       {"int8", {DType::bf16, WeightFormat::int8}},
       {"int4", {DType::bf16, WeightFormat::int4}},
       {"fp8", {DType::bf16, WeightFormat::fp8}}},
      "type of the computation (default: bf16 for checkpoints of 16 bits, else f32; f16 on a GPU "
      "only); int8, int4 and fp8 compute in bf16 with weights of so many bits (int4: vision in "
      "int8; fp8 on a "
      "GPU only)");
  const std::map<std::string, WeightFormat> formats = {{"unquantized", WeightFormat::unquantized},
                                                       {"int8", WeightFormat::int8},
                                                       {"int4", WeightFormat::int4},
                                                       {"fp8", WeightFormat::fp8}};
  add_choice(app, "--vision-weights", o.vision_weights, formats,
             "weights of the vision tower and the projector (default: as --dtype says)");
  add_choice(app, "--lm-weights", o.lm_weights, formats,
             "weights of the language model (default: as --dtype says)");
  app.add_option("--group", o.group, "int4: inputs that share a multiplier, 32 (default) or 128")
      ->check(CLI::IsMember({Index{32}, Index{128}}));
  app.add_flag("--zero-points", o.zero_points, "int4: ranges that are not symmetric about zero");
}

void add_model(CLI::App& app, Options& o) {
  app.add_flag("--int8-kv", o.int8_kv, "keep keys and values in 8 bits");
  app.add_option("--model", o.model, "checkpoint directory: config.json, *.safetensors, tokenizer")
      ->type_name("DIR");
  app.add_option("--random-weights", o.random_weights,
                 "instead of --model: random weights of size 7b, 13b, 34b or tiny")
      ->type_name("PRESET")
      ->check(known(pllava::ModelConfig::preset));
  app.add_option("--base", o.base, "llava-hf directory under an adapter-only --model")
      ->type_name("DIR");
  app.add_option(
         "--cache", o.cache,
         "file that keeps the weights of --model as the CPU computes with them: made at the "
         "first start, read at the next ones")
      ->type_name("FILE");
  app.add_option("--lora-alpha", o.lora_alpha,
                 "LoRA alpha, merged while loading (default 4, as in the published scripts)")
      ->check(not_negative());
  app.add_flag("--lenient", o.lenient, "ignore tensors that the model does not know");
  add_types(app, o);
  app.add_option_function<std::string>(
         "--device", [&o](const std::string& text) { o.gpu = parse_device(text); },
         "where to compute: cpu (default), cuda, or cuda:N for the GPU of that number")
      ->type_name("DEVICE");
  app.add_flag("--deterministic", o.deterministic,
               "the same result however work is split; on a CPU always so, on a GPU slower");
  app.add_option("--threads", o.threads,
                 "threads, 0 (default) for one on each processor that the process may use")
      ->check(number<Index>("0 to 1024", [](Index n) { return n >= 0 && n <= 1024; }));
  app.add_option("--seed", o.generate.sampling.seed,
                 "seed of sampling and of random weights (default 0)")
      ->check(natural());
}

void add_clip(CLI::App& app, Options& o) {
  app.add_option("--frames", o.frames, "frames to sample (default: the checkpoint's, mostly 16)")
      ->check(count());
  app.add_option_function<std::string>(
         "--pool", [&o](const std::string& text) { o.pool = parse_grid(text); },
         "pooled grid (default: the checkpoint's, mostly 16x12x12)")
      ->type_name("TxHxW");
  add_choice<pllava::SamplingRule>(
      app, "--sampling", o.sampling,
      {{"eval", pllava::SamplingRule::eval}, {"demo", pllava::SamplingRule::demo}},
      "rule that chooses the frames (default eval)");
  app.add_option("--start", o.start, "first second of the clip; with --sampling eval")
      ->check(not_negative());
  app.add_option("--end", o.end, "last second of the clip; with --sampling eval")
      ->check(not_negative());
}

void add_conversation_template(CLI::App& app, Options& o) {
  app.add_option("--template", o.conversation_template,
                 "conversation template (default: the task's, else plain), for example demo")
      ->type_name("NAME")
      ->check(known(pllava::conversation_template));
  app.add_option("--task", o.task,
                 "put a benchmark's words around the question, for example mvbench")
      ->type_name("NAME")
      ->check(known(pllava::task_prompt));
}

void add_prompt(CLI::App& app, Options& o) {
  app.add_option(
      "--prompt", o.prompt,
      "what to ask (default: the task's question, else \"" + std::string(kDefaultPrompt) + "\")");
}

void add_generation(CLI::App& app, Options& o) {
  pllava::SamplingOptions& s = o.generate.sampling;
  app.add_option("--max-new-tokens", o.generate.max_new_tokens, "longest answer (default 200)")
      ->check(count());
  app.add_option("--min-new-tokens", s.min_new_tokens, "shortest answer (default 0)")
      ->check(natural());
  app.add_option("--temperature", s.temperature, "0 (default) takes the likeliest token")
      ->check(not_negative());
  app.add_option("--top-p", s.top_p,
                 "keep the likeliest tokens that reach this probability (default 1: all)")
      ->check(number<double>("above 0 and at most 1", [](double p) { return p > 0 && p <= 1; }));
  app.add_option("--top-k", s.top_k, "keep the k likeliest tokens (default 0: all)")
      ->check(natural());
  app.add_option("--repetition-penalty", s.repetition_penalty,
                 "above 1 discourages repetition (default 1)")
      ->check(number<double>("above 0", [](double x) { return std::isfinite(x) && x > 0; }));
  app.add_option("--stop", o.generate.stop, "end the answer before this text; may be repeated")
      ->expected(1)
      ->take_all()
      ->check(CLI::Validator(
          [](std::string& text) { return std::string(text.empty() ? "expected a text" : ""); },
          ""));
}

void add_answering(CLI::App& app, Options& o) {
  add_model(app, o);
  add_clip(app, o);
  add_conversation_template(app, o);
  add_generation(app, o);
  app.add_flag("--json", o.json, "write one JSON object per answer");
  app.add_flag("--quiet", o.quiet, "no progress on stderr");
}

void add_one_video(CLI::App& app, Options& o) {
  app.add_option_function<std::string>(
         "VIDEO", [&o](const std::string& video) { o.videos = {video}; }, kVideoHelp)
      ->required()
      ->type_name("");
}

/// A checkpoint that is read and not run.
void add_directory(CLI::App& app, Options& o) {
  app.add_option("DIR", o.model, "checkpoint directory")->required()->type_name("");
  app.add_option("--base", o.base, "llava-hf directory under an adapter-only DIR")
      ->type_name("DIR");
  app.add_option("--lora-alpha", o.lora_alpha, "LoRA alpha to merge with (default 4)")
      ->check(not_negative());
}

CLI::App& add_command(CLI::App& app, Options& o, Command command, const char* name,
                      const char* what, const char* more) {
  CLI::App* added = app.add_subcommand(name, what);
  added->final_callback([&o, command] { o.command = command; });
  added->footer(more);
  return *added;
}

void add_commands(CLI::App& app, Options& o) {
  CLI::App& caption = add_command(
      app, o, Command::caption, "caption", "Describe each video.",
      "Examples:\n"
      "  pllava caption cat.mp4 --model pllava-7b\n"
      "  pllava caption *.mp4 --model pllava-7b --json > captions.jsonl\n"
      "A video that cannot be read is reported, the others are described; the exit code is then "
      "1.");
  caption.add_option("VIDEO", o.videos, kVideoHelp)->required()->type_name("");
  add_prompt(caption, o);
  add_answering(caption, o);

  CLI::App& ask = add_command(
      app, o, Command::ask, "ask",
      "Answer several questions about one video, which is encoded once.",
      "Examples:\n"
      "  pllava ask cat.mp4 \"What is the cat doing?\" \"Where is it?\" --model pllava-7b\n"
      "  pllava ask match.mp4 \"Who scores?\" --start 60 --end 90 --model pllava-7b\n"
      "Each question is answered by itself; chat remembers the questions before.");
  add_one_video(ask, o);
  ask.add_option("QUESTION", o.questions, "questions, each answered by itself")
      ->required()
      ->type_name("");
  add_answering(ask, o);

  CLI::App& chat =
      add_command(app, o, Command::chat, "chat", "Talk about one video: a line in, an answer out.",
                  "Examples:\n"
                  "  pllava chat cat.mp4 --model pllava-7b --template demo\n"
                  "  pllava chat cat.mp4 --model pllava-7b --json < questions.txt\n"
                  "Each question sees those before it and their answers. Ctrl-D ends the talk.");
  add_one_video(chat, o);
  add_answering(chat, o);

  CLI::App& trace = add_command(
      app, o, Command::trace, "trace", "Write every intermediate result of one run to a file.",
      "Example:\n"
      "  pllava trace cat.mp4 --model pllava-7b --out trace.safetensors\n"
      "Tensors: frame_indices (T), frames (T,S,S,3), pixel_values (T,3,S,S), vision_features "
      "(T,P,D),\n"
      "video_embeddings (N,D), prompt_ids, logits (V) of the first new token.");
  add_one_video(trace, o);
  trace.add_option("--out", o.out, "safetensors file to write")->required()->type_name("FILE");
  add_prompt(trace, o);
  add_model(trace, o);
  add_clip(trace, o);
  add_conversation_template(trace, o);
  trace.add_flag("--quiet", o.quiet, "no progress on stderr, no file name on stdout");

  CLI::App& inspect = add_command(
      app, o, Command::inspect, "inspect",
      "Show what a checkpoint holds and the memory that it needs.",
      "Examples:\n"
      "  pllava inspect pllava-7b\n"
      "  pllava inspect adapter --base llava-1.5-7b-hf --json\n"
      "Weights are not read. Tensors that do not fit the configuration are listed; the exit code "
      "is then 1.");
  add_directory(inspect, o);
  inspect.add_flag("--json", o.json, "write one JSON object");

  CLI::App& bench = add_command(
      app, o, Command::bench, "bench", "Measure a model on this machine.",
      "Examples:\n"
      "  pllava bench --random-weights 7b --dtype bf16\n"
      "  pllava bench --model pllava-7b --device cuda --json\n"
      "Each part is run once to warm up and then --runs times; medians are shown, "
      "beside the ceiling\n"
      "that limits the part, probed before each run: operations or bytes a second that "
      "the machine\n"
      "can do at most. of_ceiling is the fraction of it that the part reaches. A run of decode\n"
      "is 8 tokens, its time that of one.");
  add_model(bench, o);
  bench
      .add_option("--frames", o.frames, "frames of the clip (default: the checkpoint's, mostly 16)")
      ->check(count());
  bench.add_option("--text-rows", o.text_rows, "tokens of the question (default 96)")
      ->check(count());
  bench.add_option("--runs", o.runs, "runs of each part (default 5)")->check(count());
  bench.add_option("--until", o.until, "the last part to run (default: all six)")
      ->check(CLI::IsMember({"vision", "projector", "prefill", "decode", "second question"}));
  bench.add_flag("--json", o.json, "write one JSON object");
  bench.add_flag("--quiet", o.quiet, "no progress on stderr");

  CLI::App& quantize = add_command(
      app, o, Command::quantize, "quantize",
      "Write a checkpoint with its weights rounded to 8 or 4 bits.",
      "Examples:\n"
      "  pllava quantize pllava-7b --dtype int4 --out pllava-7b-int4\n"
      "  pllava quantize pllava-7b --dtype int4 --calibrate cat.mp4 --out pllava-7b-awq\n"
      "  pllava quantize pllava-7b --vision-weights int8 --out pllava-7b-vision\n"
      "LoRA is merged on the way. The new directory is complete or not there; it is used like any "
      "other\nand answers as the old one does with the same options.\n"
      "With --calibrate the model first describes the given videos in full precision; its language "
      "model is\nthen rounded so that least is lost of what its layers made of them (AWQ, arXiv "
      "2306.00978). A few\nvideos like those it will see are enough. Size and speed stay the same; "
      "the errors of the layers on\nthese videos are shown.");
  add_directory(quantize, o);
  quantize.add_option("--out", o.out, "directory to write; must not exist")
      ->required()
      ->type_name("DIR");
  add_types(quantize, o);
  CLI::Option* calibrate =
      quantize
          .add_option("--calibrate", o.calibrate,
                      "int4: round by what the language model's layers see in these videos")
          ->type_name("VIDEO ...");
  quantize.add_flag("--json", o.json, "write one JSON object: the errors, product by product")
      ->needs(calibrate);
  quantize.add_flag("--quiet", o.quiet, "no progress on stderr");

  CLI::App& random =
      add_command(app, o, Command::write_random, "write-random",
                  "Write a checkpoint of random weights, to try things without the real ones.",
                  "Example:\n"
                  "  pllava write-random --out tiny --tokenizer pllava-7b/tokenizer.json");
  random.add_option("--out", o.out, "directory to write")->required()->type_name("DIR");
  random.add_option("--preset", o.preset, "size: tiny (default), 7b, 13b or 34b")
      ->type_name("PRESET")
      ->check(known(pllava::ModelConfig::preset));
  random.add_option("--tokenizer", o.tokenizer, "tokenizer.json to copy")
      ->required()
      ->type_name("FILE");
  random.add_option("--seed", o.generate.sampling.seed, "seed of the weights (default 0)")
      ->check(natural());
}

/// What no single option shows.
void check_together(const Options& o) {
  if (o.command == Command::inspect || o.command == Command::write_random) return;
  if (o.command == Command::quantize) {
    if (!quantize_options(o).any())
      throw CLI::ValidationError("quantize needs --dtype int8, int4 or fp8");
    if (!o.calibrate.empty() && quantize_options(o).language.format != pllava::WeightFormat::int4)
      throw CLI::ValidationError("--calibrate needs --dtype int4 or --lm-weights int4");
    return;
  }
  if (o.model.empty() == o.random_weights.empty())
    throw CLI::ValidationError("give either --model or --random-weights");
  if (!o.cache.empty() && (o.gpu || o.model.empty()))
    throw CLI::ValidationError("--cache is for a --model on the CPU");
  if (o.dtype == pllava::DType::f16 && !o.gpu)
    throw CLI::ValidationError("--dtype f16 needs --device cuda");
  const pllava::QuantizeOptions formats = quantize_options(o);
  for (const pllava::Quantization& q : {formats.vision, formats.language})
    if (q.format == pllava::WeightFormat::fp8 && !o.gpu)
      throw CLI::ValidationError("weights of fp8 need --device cuda");
  if (o.sampling == pllava::SamplingRule::demo && (o.start || o.end))
    throw CLI::ValidationError("--start and --end need --sampling eval");
  if (o.start && o.end && *o.start > *o.end) throw CLI::ValidationError("--start is after --end");
}

}  // namespace

std::optional<int> parse_command_line(int argc, char** argv, Options& options) {
  CLI::App app{"Caption videos and ask questions about them with PLLaVA.", "pllava"};
  app.set_version_flag("--version", "pllava " PLLAVA_VERSION);
  app.require_subcommand(0, 1);  // none is refused below, after a word that is no command
  app.footer(
      "Example: pllava caption cat.mp4 --model pllava-7b\n"
      "Every command explains itself: pllava caption --help\n"
      "Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.");
  add_commands(app, options);
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) throw CLI::ValidationError("give a command");
    check_together(options);
    return std::nullopt;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // help or the version
    report_error(std::string(e.what()) + " (see pllava --help)");
    return kWrongUsage;
  }
}

}  // namespace cli
