// pllava: caption videos and ask questions about them from the command line.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "pllava/pllava.hpp"
#include "pllava/video.hpp"

namespace {

using pllava::Index;

std::atomic<bool> interrupted{false};

struct Options {
  std::vector<std::string> videos;
  std::vector<std::string> questions;
  std::string model, random_weights, prompt = "Describe the video in details.", wording, task;
  std::string pool, sampling = "eval", dtype = "f32", device = "cpu", out, base;
  Index frames = 0, threads = 0;
  double start = -1, end = -1, lora_alpha = 4;
  pllava::GenerateOptions generate;
  bool json = false, quiet = false, lenient = false;
};

/// One status line on stderr, rewritten in place; silent when stderr is no terminal.
class Status {
 public:
  explicit Status(bool enabled) : enabled_(enabled && isatty(STDERR_FILENO) != 0) {}
  ~Status() { clear(); }
  void show(std::string_view stage, Index done, Index total) {
    if (!enabled_) return;
    std::cerr << "\r\033[K" << stage << ' ' << done << '/' << total << std::flush;
  }
  void clear() {
    if (enabled_) std::cerr << "\r\033[K" << std::flush;
  }

 private:
  bool enabled_;
};

pllava::Grid parse_grid(const std::string& text) {
  pllava::Grid g;
  char x = 0, y = 0, rest = 0;
  std::istringstream in(text);
  if (!(in >> g.t >> x >> g.h >> y >> g.w) || x != 'x' || y != 'x' || in >> rest || g.t < 1 ||
      g.h < 1 || g.w < 1)
    throw pllava::ArgumentError("--pool wants TxHxW, for example 16x12x12, got \"" + text + "\"");
  return g;
}

/// Single bytes and the image token: enough to run random weights of any size.
pllava::Tokenizer byte_tokenizer(const pllava::ModelConfig& config) {
  pllava::TokenizerParts parts;
  parts.source = "random weights";
  parts.vocab.resize(static_cast<std::size_t>(std::max<Index>(config.image_token + 1, 260)));
  parts.vocab[0] = "<unk>", parts.vocab[1] = "<s>", parts.vocab[2] = "</s>";
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    parts.vocab[static_cast<std::size_t>(3 + b)] = name;
  }
  const auto image = static_cast<std::int32_t>(config.image_token);
  parts.vocab[static_cast<std::size_t>(image)] = pllava::kVideoToken;
  parts.added = {{0, "<unk>", true}, {1, "<s>", true}, {2, "</s>", true}};
  parts.added.push_back({image, std::string(pllava::kVideoToken), true});
  parts.unk = "<unk>";
  parts.byte_fallback = parts.decode_bytes = true;
  parts.prefix = {1};
  return pllava::Tokenizer(std::move(parts));
}

pllava::LoadOptions load_options(const Options& o) {
  pllava::LoadOptions load;
  load.lora_alpha = o.lora_alpha;
  load.strict = !o.lenient;
  load.base = o.base;
  if (o.frames > 0) load.frames = o.frames;
  if (!o.pool.empty()) load.pool = parse_grid(o.pool);
  return load;
}

pllava::Pipeline load_pipeline(const Options& o) {
  pllava::cpu::BackendOptions backend;
  backend.threads = o.threads;
  backend.dtype = o.dtype == "bf16" ? pllava::DType::bf16 : pllava::DType::f32;
  if (o.random_weights.empty()) return pllava::Pipeline::load(o.model, load_options(o), backend);
  pllava::ModelConfig config = pllava::ModelConfig::preset(o.random_weights);
  if (o.frames > 0) config.frames = o.frames;
  if (!o.pool.empty()) config.pool.output = parse_grid(o.pool);
  pllava::PreprocessConfig pixels;
  pixels.image_size = config.vision.image_size;
  return {pllava::cpu::Backend(backend), config,
          pllava::RandomWeights::scope(o.generate.sampling.seed, backend.dtype),
          byte_tokenizer(config), pixels};
}

pllava::Clip sample_clip(const Options& o, const std::string& video, Index frames) {
  pllava::SampleOptions sample;
  sample.rule = o.sampling == "demo" ? pllava::SamplingRule::demo : pllava::SamplingRule::eval;
  if (o.start >= 0 || o.end >= 0)
    sample.bounds = pllava::TimeRange{std::max(o.start, 0.0), o.end >= 0 ? o.end : 1e5};
  return pllava::Video::open(video).sample(frames, sample);
}

Index peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}

/// Answers `questions` about each video, each question on its own.
void answer(const Options& o, const std::vector<std::string>& questions) {
  Status status(!o.quiet);
  pllava::detail::Stopwatch watch;
  status.show("loading", 0, 1);
  const pllava::Pipeline model = load_pipeline(o);
  const double load_ms = watch.lap();
  pllava::RunControl control{&interrupted, [&](std::string_view stage, Index done, Index total) {
                               status.show(stage, done, total);
                             }};
  for (const std::string& video : o.videos) {
    watch.lap();
    const pllava::Clip clip = sample_clip(o, video, model.frames());
    const double decode_ms = watch.lap();
    pllava::WatchOptions how;
    how.task = o.task;
    how.wording = o.wording;
    how.control = control;
    pllava::Session session = model.watch(clip, how);
    const auto start = session.mark();
    for (const std::string& question : questions) {
      session.rewind(start);
      pllava::GenerateOptions generate = o.generate;
      generate.control = control;
      const bool stream = !o.json && isatty(STDOUT_FILENO) != 0;
      if (questions.size() > 1 && !o.json) std::cout << "> " << question << '\n';
      const pllava::Answer a = session.ask(question, generate, [&](std::string_view piece) {
        status.clear();
        if (stream) std::cout << piece << std::flush;
        return true;
      });
      status.clear();
      if (!o.json) {
        if (!stream) std::cout << (o.videos.size() > 1 ? video + ": " : "") << a.text;
        std::cout << '\n';
        continue;
      }
      const pllava::WatchReport& r = session.report();
      nlohmann::json indices = nlohmann::json::array(), times = nlohmann::json::array();
      for (const pllava::Frame& f : clip.frames)
        indices.push_back(f.index), times.push_back(f.time);
      const double decoded = static_cast<double>(a.output_ids.size()) - 1;
      const nlohmann::json j = {
          {"video", video},
          {"prompt", a.prompt},
          {"text", a.text},
          {"frame_indices", indices},
          {"frame_times", times},
          {"prompt_ids", a.prompt_ids},
          {"output_ids", a.output_ids},
          {"finish_reason", pllava::name_of(a.finish_reason)},
          {"timings_ms",
           {{"load", load_ms},
            {"decode", decode_ms},
            {"preprocess", r.video.preprocess_ms},
            {"vision", r.video.vision_ms},
            {"project", r.video.project_ms},
            {"prefill", r.video.prefill_ms + a.prefill_ms},
            {"generate", a.generate_ms}}},
          {"prefill_tokens_per_s", static_cast<double>(model.config().pool.output.count()) /
                                       std::max(r.video.prefill_ms, 1e-6) * 1e3},
          {"decode_tokens_per_s",
           decoded > 0 ? decoded / std::max(a.generate_ms, 1e-6) * 1e3 : 0.0},
          {"peak_memory_bytes", peak_memory_bytes()}};
      std::cout << j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
    }
  }
}

void chat(const Options& o) {
  const pllava::Pipeline model = load_pipeline(o);
  pllava::WatchOptions how;
  how.wording = o.wording;
  pllava::Session session = model.watch(sample_clip(o, o.videos.at(0), model.frames()), how);
  for (std::string line; std::cout << "> " << std::flush, std::getline(std::cin, line);) {
    if (line.empty()) continue;
    try {
      session.ask(line, o.generate, [](std::string_view piece) {
        std::cout << piece << std::flush;
        return true;
      });
      std::cout << '\n';
    } catch (const pllava::Error& e) {
      std::cerr << "pllava: " << e.what() << '\n';
    }
  }
  std::cout << '\n';
}

void trace(const Options& o) {
  const pllava::Pipeline model = load_pipeline(o);
  const pllava::Clip clip = sample_clip(o, o.videos.at(0), model.frames());
  const std::vector<pllava::Frame> crops = pllava::crop_frames(clip.frames, model.pixels());
  std::vector<float> pixels = pllava::preprocess(clip, model.pixels());
  pllava::WatchOptions how;
  how.task = o.task;
  how.wording = o.wording;
  how.trace = true;
  pllava::Session session = model.watch(clip, how);
  pllava::GenerateOptions one = o.generate;
  one.max_new_tokens = 1;
  const pllava::Answer a = session.ask(o.prompt, one);

  const Index T = static_cast<Index>(crops.size()), S = model.pixels().image_size;
  const Index P = model.config().vision.patches(), D = model.config().vision.width;
  std::vector<std::int32_t> indices;
  for (const pllava::Frame& f : clip.frames) indices.push_back(static_cast<std::int32_t>(f.index));
  std::vector<std::uint8_t> frames;
  for (const pllava::Frame& f : crops) frames.insert(frames.end(), f.data, f.data + 3 * S * S);
  const pllava::Trace& t = session.report().trace;
  const std::vector<float>& logits = session.first_logits();
  const auto tensor = [](const auto& v, pllava::DType dtype, pllava::Shape shape) {
    return pllava::HostTensor{dtype, shape, reinterpret_cast<const std::byte*>(v.data()), nullptr};
  };
  using enum pllava::DType;
  const std::vector<pllava::NamedTensor> tensors = {
      {"frame_indices", tensor(indices, i32, {T})},
      {"frames", tensor(frames, u8, {T, S, S, 3})},
      {"pixel_values", tensor(pixels, f32, {T, 3, S, S})},
      {"vision_features", tensor(t.vision_features, f32, {T, P, D})},
      {"video_embeddings", tensor(t.video_embeddings, f32,
                                  {model.config().pool.output.count(), model.config().text.width})},
      {"prompt_ids", tensor(a.prompt_ids, i32, {static_cast<Index>(a.prompt_ids.size())})},
      {"logits", tensor(logits, f32, {static_cast<Index>(logits.size())})}};
  pllava::write_safetensors(o.out, tensors, {});
  if (!o.quiet) std::cout << o.out << '\n';
}

void inspect(const Options& o) {
  const pllava::Checkpoint c = pllava::Checkpoint::open(o.model, load_options(o));
  const pllava::ModelConfig& m = c.config();
  std::cout << "vision:   " << m.vision.layers << " layers (" << m.vision.used_layers()
            << " used), width " << m.vision.width << ", " << m.vision.heads << " heads, image "
            << m.vision.image_size << ", patch " << m.vision.patch_size << '\n'
            << "pool:     " << m.frames << " frames to " << m.pool.output.str() << '\n'
            << "language: " << m.text.layers << " layers, width " << m.text.width << ", "
            << m.text.heads << " heads, " << m.text.kv_heads << " kv, vocabulary " << m.text.vocab
            << ", context " << m.text.context << '\n'
            << c.report().str() << '\n';
}

/// A checkpoint of random weights in the published layout, with a copied tokenizer.
void write_random(const Options& o, const std::string& preset, const std::string& tokenizer) {
  pllava::ModelConfig config = pllava::ModelConfig::preset(preset);
  const auto t = pllava::Tokenizer::from_file(tokenizer);
  const auto image = t.id_of(pllava::kVideoToken);
  if (!image) throw pllava::PromptError(tokenizer + ": no token \"<image>\"");
  config.image_token = *image;
  config.text.vocab = std::max(config.text.vocab, t.size());
  pllava::write_random_checkpoint(o.out, config, o.generate.sampling.seed, pllava::DType::bf16);
  std::filesystem::copy_file(tokenizer, std::filesystem::path(o.out) / "tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing);
}

void add_model_options(CLI::App& app, Options& o) {
  app.add_option("--model", o.model,
                 "checkpoint directory (config.json, *.safetensors, tokenizer)");
  app.add_option("--random-weights", o.random_weights,
                 "instead of --model: random weights of this size: 7b, 13b, 34b, tiny");
  app.add_option("--base", o.base, "llava-hf directory under an adapter-only --model");
  app.add_option("--lora-alpha", o.lora_alpha, "LoRA alpha, merged at load (published scripts: 4)");
  app.add_option("--frames", o.frames, "frames to sample (default: the checkpoint's)");
  app.add_option("--pool", o.pool, "pooled grid TxHxW, for example 16x12x12");
  app.add_option("--dtype", o.dtype, "computation in f32 or bf16")
      ->check(CLI::IsMember({"f32", "bf16"}));
  app.add_option("--device", o.device, "cpu")->check(CLI::IsMember({"cpu"}));
  app.add_option("--threads", o.threads, "threads (default: all)");
  app.add_option("--seed", o.generate.sampling.seed, "seed of sampling and of random weights");
  app.add_flag("--lenient", o.lenient, "report unused tensors instead of refusing them");
  app.add_flag("--quiet", o.quiet, "no progress");
}

void add_run_options(CLI::App& app, Options& o) {
  add_model_options(app, o);
  app.add_option("--template", o.wording, "conversation template, for example eval_videoqabench");
  app.add_option("--task", o.task, "task prompt: mvbench, videoqa, ...");
  app.add_option("--sampling", o.sampling, "frame index rule: eval or demo")
      ->check(CLI::IsMember({"eval", "demo"}));
  app.add_option("--start", o.start, "first second of the clip");
  app.add_option("--end", o.end, "last second of the clip");
  app.add_option("--max-new-tokens", o.generate.max_new_tokens, "longest answer");
  auto& s = o.generate.sampling;
  app.add_option("--temperature", s.temperature, "0 is greedy");
  app.add_option("--top-p", s.top_p, "keep the likeliest tokens up to this probability");
  app.add_option("--top-k", s.top_k, "keep the k likeliest tokens, 0 keeps all");
  app.add_option("--repetition-penalty", s.repetition_penalty, "above 1 discourages repetition");
  app.add_flag("--json", o.json, "one JSON object per answer");
}

int run(int argc, char** argv) {
  Options o;
  CLI::App app{"Caption videos and ask questions about them with PLLaVA."};
  app.set_version_flag("--version", PLLAVA_VERSION);
  app.require_subcommand(1);
  app.footer("Example: pllava caption cat.mp4 --model pllava-7b --dtype bf16");

  const std::string video_help = "video file, GIF, picture or directory of frames";
  CLI::App* caption = app.add_subcommand("caption", "describe each video");
  caption->add_option("VIDEO", o.videos, video_help)->required();
  caption->add_option("--prompt", o.prompt, "what to ask");
  add_run_options(*caption, o);

  std::string video;
  CLI::App* ask = app.add_subcommand("ask", "several questions about one video, encoded once");
  ask->add_option("VIDEO", video, video_help)->required();
  ask->add_option("QUESTION", o.questions, "questions, each answered on its own")->required();
  add_run_options(*ask, o);

  CLI::App* talk = app.add_subcommand("chat", "a conversation about one video, a line a question");
  talk->add_option("VIDEO", video, video_help)->required();
  add_run_options(*talk, o);

  CLI::App* tracing = app.add_subcommand("trace", "write every intermediate result to a file");
  tracing->add_option("VIDEO", video, video_help)->required();
  tracing->add_option("--out", o.out, "safetensors file to write")->required();
  tracing->add_option("--prompt", o.prompt, "what to ask");
  add_run_options(*tracing, o);

  CLI::App* inspection = app.add_subcommand("inspect", "what a checkpoint holds");
  inspection->add_option("DIR", o.model, "checkpoint directory")->required();
  inspection->add_option("--base", o.base, "llava-hf directory under an adapter-only DIR");
  inspection->add_option("--lora-alpha", o.lora_alpha, "LoRA alpha to report");

  std::string preset = "tiny", tokenizer;
  CLI::App* random = app.add_subcommand("write-random", "write a checkpoint of random weights");
  random->add_option("--out", o.out, "directory to write")->required();
  random->add_option("--preset", preset, "size: tiny (default), 7b, 13b, 34b");
  random->add_option("--tokenizer", tokenizer, "tokenizer.json to copy")->required();
  random->add_option("--seed", o.generate.sampling.seed, "seed of the weights");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (!video.empty()) o.videos = {video};
  if (!*inspection && !*random && o.model.empty() == o.random_weights.empty()) {
    std::cerr << "pllava: give either --model or --random-weights\n";
    return 2;
  }
  std::signal(SIGINT, [](int) { interrupted = true; });
  if (*caption) answer(o, {o.prompt});
  if (*ask) answer(o, o.questions);
  if (*talk) chat(o);
  if (*tracing) trace(o);
  if (*inspection) inspect(o);
  if (*random) write_random(o, preset, tokenizer);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << "pllava: " << e.what() << '\n';
    return 1;
  }
}
