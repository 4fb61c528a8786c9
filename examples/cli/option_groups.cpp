#include "option_groups.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <locale>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>

#include "pllava/models/model_config.hpp"
#include "pllava/text/prompt.hpp"
#include "validators.hpp"

namespace cli {
namespace {

constexpr const char* kVideoHelp =
    "video file, GIF, image, directory of frames, address, camera, or - for standard input";

pllava::Grid parse_grid(const std::string& text) {
  constexpr Index kMaxSide = 10000;  // the product of three sides cannot overflow
  pllava::Grid g;
  char x = 0, y = 0, rest = 0;
  std::istringstream in(text);
  const auto valid = [](Index n) { return n >= 1 && n <= kMaxSide; };
  if (!(in >> g.t >> x >> g.h >> y >> g.w) || x != 'x' || y != 'x' || in >> rest || !valid(g.t) ||
      !valid(g.h) || !valid(g.w))
    throw CLI::ValidationError("--pool", "expected TxHxW, for example 16x12x12, got " + text);
  return g;
}

/// The index of a GPU; nullopt for the CPU.
std::optional<int> parse_device(const std::string& text) {
  if (text == "cpu") return std::nullopt;
  int device = 0;
  const std::string index = text.starts_with("cuda:") ? text.substr(5) : "0";
  const auto [end, error] = std::from_chars(index.data(), index.data() + index.size(), device);
  const bool whole = error == std::errc() && end == index.data() + index.size() && device >= 0;
  if ((text != "cuda" && !text.starts_with("cuda:")) || !whole)
    throw CLI::ValidationError("--device", "expected cpu, cuda or cuda:N, got " + text);
  return device;
}

/// A time such as "2s", "500ms", "1m" or "2" (seconds).
double parse_seconds(const std::string& name, const std::string& text) {
  const std::map<std::string, double> units = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"m", 60}};
  const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto unit = units.find(text.substr(end));
  std::istringstream number(text.substr(0, end));  // libc++ 14 has no from_chars for double
  number.imbue(std::locale::classic());
  double value = 0;
  if (!(number >> value) || !number.eof() || unit == units.end() || value <= 0)
    throw CLI::ValidationError(name, "expected a time such as 2s, 500ms or 1m, got " + text);
  return value * unit->second;
}

/// Length, sampling and stop texts of the answer.
void add_generation(CLI::App& app, Options& o) {
  pllava::SamplingOptions& s = o.generate.sampling;
  app.add_option("--max-new-tokens", o.generate.max_new_tokens,
                 "maximum tokens of an answer (default 200)")
      ->check(positive_integer());
  app.add_option("--min-new-tokens", s.min_new_tokens, "minimum tokens of an answer (default 0)")
      ->check(non_negative_integer());
  app.add_option("--temperature", s.temperature,
                 "sampling temperature; 0 (default) is greedy decoding")
      ->check(non_negative_number());
  app.add_option("--top-p", s.top_p,
                 "nucleus sampling: keep the most likely tokens up to this cumulative probability "
                 "(default 1: all)")
      ->check(number<double>("above 0 and at most 1", [](double p) { return p > 0 && p <= 1; }));
  app.add_option("--top-k", s.top_k, "keep the k most likely tokens (default 0: all)")
      ->check(non_negative_integer());
  app.add_option("--repetition-penalty", s.repetition_penalty,
                 "values above 1 penalize repeated tokens (default 1)")
      ->check(number<double>("above 0", [](double x) { return std::isfinite(x) && x > 0; }));
  app.add_option("--stop", o.generate.stop,
                 "end the answer before this text; may be given several times")
      ->expected(1)
      ->take_all()
      ->check(non_empty_text());
  app.add_flag("--parse-special", o.generate.parse_special,
               "special tokens such as </s> in a question become control tokens, as in the "
               "reference (default: they are text)");
}

using ComputeType = std::pair<pllava::DType, pllava::WeightFormat>;

/// The names of --dtype: the type of the computation and the format of the weights.
std::map<std::string, ComputeType> compute_types() {
  using pllava::DType, pllava::WeightFormat;
  return {{"f32", {DType::f32, WeightFormat::unquantized}},
          {"bf16", {DType::bf16, WeightFormat::unquantized}},
          {"f16", {DType::f16, WeightFormat::unquantized}},
          {"int8", {DType::bf16, WeightFormat::int8}},
          {"int4", {DType::bf16, WeightFormat::int4}},
          {"fp8", {DType::bf16, WeightFormat::fp8}}};
}

}  // namespace

void add_video(CLI::App& app, Options& o) {
  app.add_option_function<std::string>(
         "VIDEO", [&o](const std::string& video) { o.videos = {video}; }, kVideoHelp)
      ->required()
      ->type_name("");
}

void add_videos(CLI::App& app, Options& o) {
  app.add_option("VIDEO", o.videos, kVideoHelp)->required()->type_name("");
}

void add_checkpoint(CLI::App& app, Options& o) {
  app.add_option("MODEL", o.model, "checkpoint directory, or GGUF file")->required()->type_name("");
  app.add_option("--base", o.base, "llava-hf base model, if MODEL holds only an adapter")
      ->type_name("DIR");
  app.add_option("--lora-alpha", o.lora_alpha,
                 "LoRA alpha of the merge (default: that of adapter_config.json, else 4)")
      ->check(non_negative_number());
}

void add_mmproj(CLI::App& app, Options& o) {
  app.add_option("--mmproj", o.mmproj,
                 "GGUF file of the vision tower and projector, if the model is a GGUF file")
      ->type_name("FILE");
}

void add_types(CLI::App& app, Options& o) {
  using pllava::WeightFormat;
  add_choice<ComputeType>(
      app, "--dtype", [&o](ComputeType type) { std::tie(o.dtype, o.weights) = type; },
      compute_types(),
      "compute type (default: bf16 for 16-bit checkpoints, else f32; f16 on a GPU only). int8, "
      "int4 and fp8 compute in bf16 with quantized weights (int4: vision weights in int8; fp8 on "
      "a GPU only)");
  const std::map<std::string, WeightFormat> formats = {{"unquantized", WeightFormat::unquantized},
                                                       {"int8", WeightFormat::int8},
                                                       {"int4", WeightFormat::int4},
                                                       {"fp8", WeightFormat::fp8}};
  add_choice(app, "--vision-weights", o.vision_weights, formats,
             "weight format of the vision tower and the projector (default: from --dtype)");
  add_choice(app, "--lm-weights", o.lm_weights, formats,
             "weight format of the language model (default: from --dtype)");
  app.add_option("--group", o.group, "int4: inputs that share a scale, 32 (default) or 128")
      ->check(CLI::IsMember({Index{32}, Index{128}}));
  app.add_flag("--zero-points", o.zero_points,
               "int4: asymmetric quantization, with a zero point per group");
}

void add_model(CLI::App& app, Options& o) {
  app.add_flag("--int8-kv", o.int8_kv, "store the KV cache in int8");
  app.add_option("--model", o.model,
                 "checkpoint directory (config.json, *.safetensors, tokenizer), or GGUF file")
      ->type_name("MODEL");
  add_mmproj(app, o);
  app.add_option("--random-weights", o.random_weights,
                 "instead of --model: random weights of size 7b, 13b, 34b or tiny")
      ->type_name("PRESET")
      ->check(known(pllava::ModelConfig::preset));
  app.add_option("--base", o.base, "llava-hf base model, if --model holds only an adapter")
      ->type_name("DIR");
  app.add_option("--cache", o.cache,
                 "file of the weights of --model packed for the CPU: written by the first run, "
                 "read by later ones")
      ->type_name("FILE");
  app.add_option(
         "--lora-alpha", o.lora_alpha,
         "LoRA alpha of the merge at load time (default: that of adapter_config.json, else 4 as "
         "in the published scripts)")
      ->check(non_negative_number());
  app.add_flag("--lenient", o.lenient, "ignore tensors that the model does not use");
  add_types(app, o);
  app.add_option_function<std::string>(
         "--device", [&o](const std::string& text) { o.gpu = parse_device(text); },
         "cpu (default), cuda, or cuda:N for GPU N")
      ->type_name("DEVICE");
  app.add_flag("--deterministic", o.deterministic,
               "results do not depend on batch size or work split: always true on the CPU, slower "
               "on a GPU");
  app.add_option("--threads", o.threads,
                 "CPU threads; 0 (default) uses every processor available to the process")
      ->check(number<Index>("0 to 1024", [](Index n) { return n >= 0 && n <= 1024; }));
  app.add_option("--seed", o.generate.sampling.seed,
                 "seed of sampling and of random weights (default 0)")
      ->check(non_negative_integer());
}

void add_clip(CLI::App& app, Options& o) {
  app.add_option("--frames", o.frames,
                 "frames to sample (default: from the checkpoint, usually 16)")
      ->check(positive_integer());
  app.add_option_function<std::string>(
         "--pool", [&o](const std::string& text) { o.pool = parse_grid(text); },
         "pooled grid (default: from the checkpoint, usually 16x12x12)")
      ->type_name("TxHxW");
  add_choice<pllava::SamplingRule>(
      app, "--sampling", o.sampling,
      {{"eval", pllava::SamplingRule::eval},
       {"demo", pllava::SamplingRule::demo},
       {"time", pllava::SamplingRule::time}},
      "frame sampling rule: eval (default) and demo space frame numbers equally, as the reference "
      "does; time spaces times equally, for videos of variable frame rate");
  app.add_option("--start", o.start, "start of the clip in seconds; not with --sampling demo")
      ->check(non_negative_number());
  app.add_option("--end", o.end, "end of the clip in seconds; not with --sampling demo")
      ->check(non_negative_number());
  app.add_option(
         "--seconds", o.seconds,
         "length of the clip of a camera or a live stream, which begins at once (default 8)")
      ->check(positive_number());
  add_source(app, o);
  app.add_flag(
      "--decord-numbering", o.decord_numbering,
      "number the frames of trimmed files like the reference's reader, which counts hidden "
      "frames");
}

void add_source(CLI::App& app, Options& o) {
  app.add_option("--stream", o.stream,
                 "video stream to read, counted from 0 (default: the first default stream)")
      ->check(non_negative_integer());
  app.add_option_function<std::vector<std::string>>(
         "--input-option",
         [&o](const std::vector<std::string>& settings) {
           for (const std::string& setting : settings) {
             const std::size_t equals = setting.find('=');
             if (equals == 0 || equals == std::string::npos)
               throw CLI::ValidationError("--input-option", "expected KEY=VALUE, got " + setting);
             o.input_options[setting.substr(0, equals)] = setting.substr(equals + 1);
           }
         },
         "option of FFmpeg's input, for example framerate=30 (camera, raw stream), "
         "rtsp_transport=udp; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_flag("--raw-orientation", o.raw_orientation,
               "ignore the rotation of the container and the EXIF orientation of images");
  app.add_flag("--follow-other-hosts", o.follow_other_hosts,
               "let the playlist of a stream name addresses of other hosts and ports");
  app.add_flag("--square-pixels", o.square_pixels,
               "scale frames whose pixels are not square (the reference does not)");
}

void add_window(CLI::App& app, Options& o) {
  app.add_option("--ask", o.questions,
                 "question about the window; may be repeated (default: the task's, else \"" +
                     std::string(kDefaultPrompt) + "\")")
      ->expected(1)
      ->take_all()
      ->check(non_empty_text());
  app.add_option_function<std::string>(
         "--every", [&o](const std::string& text) { o.every = parse_seconds("--every", text); },
         "time between questions, for example 2s (default) or 500ms")
      ->type_name("TIME");
  app.add_option("--fps", o.fps, "frames per second that enter the window (default 4)")
      ->check(positive_number());
  app.add_flag("--follow", o.follow,
               "the source is a file that is being written, a FIFO or - (standard input): read "
               "what arrives, until it has not grown for 30 s or the writer closes it");
  app.add_flag("--reconnect", o.reconnect,
               "open an address or camera again after a fault, an interruption or its end, until "
               "Ctrl-C");
  app.add_option("--window", o.window,
                 "frames of the window (default: from the checkpoint, usually 16)")
      ->check(positive_integer());
  app.add_option("--still-below", o.still_below,
                 "a frame whose luma (0 to 255) changed by less than this everywhere, in cells of "
                 "1/24 of the picture, is not encoded again (default 0: off)")
      ->check(non_negative_number());
  app.add_flag("--rolling", o.rolling,
               "keep the keys and values of frames that stay: prefills new frames only; answers "
               "differ from the exact ones");
  app.add_option("--refresh-every", o.refresh_every,
                 "with --rolling: every n-th question prefills the whole window (default 64)")
      ->check(positive_integer());
  app.add_option("--events", o.events, "end after this many answers (default: none)")
      ->check(positive_integer());
  app.add_option("--record", o.record,
                 "directory to write: the frames that the model saw, which watch can read again")
      ->type_name("DIR");
}

void add_conversation_template(CLI::App& app, Options& o) {
  app.add_option(
         "--template", o.conversation_template,
         "conversation template (default: the model's own; PLLaVA: the task's, else plain), "
         "for example demo, or a JSON file of your own")
      ->type_name("NAME|FILE.json")
      ->check(known([](const std::string& name) {
        if (name.ends_with(".json")) return pllava::read_conversation_template(name);
        return pllava::conversation_template(name);
      }));
  app.add_option("--task", o.task,
                 "format the question as this benchmark does, for example mvbench")
      ->type_name("NAME")
      ->check(known(pllava::task_prompt));
}

void add_prompt(CLI::App& app, Options& o) {
  app.add_option("--prompt", o.prompt,
                 "question (default: the task's, else \"" + std::string(kDefaultPrompt) + "\")");
}

void add_comparison(CLI::App& app, Options& o) {
  app.add_option("--text", o.text, "text whose tokens both models predict")
      ->required()
      ->type_name("FILE");
  app.add_option("--tokens", o.tokens, "tokens of the text to use, at most (default 400)")
      ->check(positive_integer());
  app.add_option("--against", o.against,
                 "checkpoint directory or GGUF file to compare with (default: --model)")
      ->type_name("MODEL");
  app.add_option("--against-mmproj", o.against_mmproj, "--mmproj of --against")->type_name("FILE");
  add_choice<ComputeType>(
      app, "--against-dtype",
      [&o](ComputeType type) { std::tie(o.against_dtype, o.against_weights) = type; },
      compute_types(), "compute type of the model to compare with (default: f32)");
  app.add_option_function<std::string>(
         "--video", [&o](const std::string& video) { o.videos = {video}; },
         "video whose vision features are compared too")
      ->type_name("VIDEO");
}

void add_answering(CLI::App& app, Options& o) {
  add_model(app, o);
  add_conversation_template(app, o);
  add_generation(app, o);
  app.add_option("--keep-tokens", o.keep_tokens,
                 "share of the visual tokens that stay when those that repeat over time are left "
                 "out, for example 0.5 (default 1: all, as the reference)")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--json", o.json, "write one JSON object per answer");
  app.add_flag("--quiet", o.quiet, "no progress on stderr");
}

}  // namespace cli
