// inspect: the configuration, tensors and memory use of a checkpoint.
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "commands.hpp"
#include "memory_need.hpp"
#include "model.hpp"
#include "output.hpp"
#include "pllava/checkpoint/model_parts.hpp"
#include "pllava/models/text_architecture.hpp"
#include "pllava/weights/gguf.hpp"

namespace cli {
namespace {

using Json = nlohmann::ordered_json;

/// A value of --dtype.
struct Type {
  const char* name;
  pllava::DType dtype;
  pllava::WeightFormat weights = pllava::WeightFormat::unquantized;
};
constexpr Type kTypes[] = {{"f32", pllava::DType::f32},
                           {"bf16", pllava::DType::bf16},
                           {"int8", pllava::DType::bf16, pllava::WeightFormat::int8},
                           {"int4", pllava::DType::bf16, pllava::WeightFormat::int4}};

MemoryNeed need_of(const pllava::Checkpoint& checkpoint, const Type& type) {
  return memory_need(checkpoint.config(), checkpoint.tensors(), type.dtype,
                     pllava::QuantizeOptions::of(type.weights));
}

Json to_json(const pllava::ModelConfig& m, bool has_vision) {
  return {{"model_type", m.model_type},
          {"has_vision", has_vision},
          {"frames", m.frames},
          {"vision",
           {{"image_size", m.vision.image_size},
            {"patch_size", m.vision.patch_size},
            {"width", m.vision.width},
            {"ffn", m.vision.ffn},
            {"layers", m.vision.layers},
            {"used_layers", m.vision.used_layers()},
            {"heads", m.vision.heads}}},
          {"projector", {{"input", m.projector.input}, {"output", m.projector.output}}},
          {"pool",
           {{"output", {m.pool.output.t, m.pool.output.h, m.pool.output.w}},
            {"kind", name_of(m.pool.kind)}}},
          {"text",
           {{"vocab", m.text.vocab},
            {"width", m.text.width},
            {"ffn", m.text.ffn},
            {"layers", m.text.layers},
            {"heads", m.text.heads},
            {"kv_heads", m.text.kv_heads},
            {"head_dim", m.text.head_dim},
            {"context", m.text.context},
            {"rope_theta", m.text.rope_theta},
            {"tied_embeddings", m.text.tied_embeddings}}},
          {"image_token", m.image_token},
          {"conversation_template", m.conversation_template},
          {"eos_tokens", m.eos_tokens}};
}

Json to_json(const pllava::LoadReport& r) {
  return {{"files", r.files},
          {"tensors", r.tensors},
          {"ignored", r.ignored},
          {"parameters", r.parameters},
          {"bytes", r.bytes},
          {"dtypes", r.dtypes},
          {"lora",
           {{"layers", r.lora_layers},
            {"rank", r.lora_rank},
            {"alpha", r.lora_alpha},
            {"alpha_source", r.lora_alpha_source},
            {"alpha_patterned", r.lora_alpha_patterned},
            {"rank_stabilized", r.lora_rank_stabilized}}},
          {"missing", r.missing},
          {"misshapen", r.misshapen},
          {"wrong_dtype", r.wrong_dtype},
          {"unused", r.unused},
          {"notes", r.notes}};
}

Json to_json(const MemoryNeed& need) {
  return {{"weights", need.weights},
          {"kv_per_clip", need.kv_per_clip},
          {"kv_per_context", need.kv_per_context},
          {"scratch", need.scratch},
          {"total", need.total()}};
}

std::string human_bytes(std::uint64_t bytes) {
  const char* units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  char text[48];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

std::string describe(const pllava::ModelConfig& m, bool has_vision) {
  const auto number = [](Index n) { return std::to_string(n); };
  const std::string vision =
      "vision:   " + number(m.vision.layers) + " layers (" + number(m.vision.used_layers()) +
      " used), width " + number(m.vision.width) + ", " + number(m.vision.heads) + " heads, image " +
      number(m.vision.image_size) + ", patch " + number(m.vision.patch_size) +  //
      "\npool:     " + number(m.frames) + " frames to " + m.pool.output.str() + ", " +
      number(m.video_rows()) + " rows\nprompts:  " +
      (m.conversation_template.empty() ? "PLLaVA's templates" : m.conversation_template) + '\n';
  return (has_vision ? vision : "vision:   none, " + m.model_type + " alone\n") +
         "language: " + number(m.text.layers) + " layers, width " + number(m.text.width) + ", " +
         number(m.text.heads) + " heads, " + number(m.text.kv_heads) + " kv, vocabulary " +
         number(m.text.vocab) + ", context " + number(m.text.context) + '\n';
}

/// What the metadata of a GGUF file say about the language model. Checkpoint::open has read them.
Json gguf_json(const std::string& path) {
  const pllava::GgufFile file = pllava::GgufFile::open(path);
  const auto text = [&](const char* key) {
    return file.has(key) ? Json(file.get<std::string>(key)) : Json();
  };
  const std::string tokens = "tokenizer.ggml.tokens";
  return {
      {"architecture", text("general.architecture")},
      {"tokenizer", text("tokenizer.ggml.model")},
      {"pre_tokenizer", text("tokenizer.ggml.pre")},
      {"tokens", file.has(tokens) ? file.get<std::vector<std::string>>(tokens).size() : 0},
      {"chat_template", file.has("tokenizer.chat_template")},
  };
}

std::string describe_gguf(const Json& gguf) {
  const auto text = [&](const char* key) {
    return gguf[key].is_string() ? gguf[key].get<std::string>() : std::string("none");
  };
  return "GGUF:     architecture " + text("architecture") + ", tokenizer " + text("tokenizer") +
         " (" + text("pre_tokenizer") + ") of " + std::to_string(gguf["tokens"].get<Index>()) +
         " tokens, " + (gguf["chat_template"].get<bool>() ? "a" : "no") + " chat template\n";
}

std::string describe(const Type& type, const MemoryNeed& need) {
  return "memory in " + std::string(type.name) + ": " + human_bytes(need.total()) + " = weights " +
         human_bytes(need.weights) + " + keys and values " + human_bytes(need.kv_per_context) +
         " (one video " + human_bytes(need.kv_per_clip) + ") + scratch, about " +
         human_bytes(need.scratch) + '\n';
}

}  // namespace

int inspect(const Context& context) {
  const Options& o = context.options;
  const Interrupt::EndsProgram guard;
  pllava::LoadOptions load = load_options(o);
  load.strict = false;  // tensors that do not match are reported
  const bool is_gguf = pllava::is_gguf(o.model);
  if (is_gguf && o.mmproj.empty()) load.architectures = pllava::text_architectures();
  const pllava::Checkpoint checkpoint = pllava::Checkpoint::open(o.model, load);
  const pllava::ModelConfig& config = checkpoint.config();
  const pllava::LoadReport& report = checkpoint.report();
  const bool has_vision = has_vision_tower(checkpoint.tensors());
  if (o.json) {
    Json json = {{"directory", o.model},
                 {"config", to_json(config, has_vision)},
                 {"report", to_json(report)}};
    if (is_gguf) json["gguf"] = gguf_json(o.model);
    for (const Type& type : kTypes)
      json["memory_bytes"][type.name] = to_json(need_of(checkpoint, type));
    write_output(json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n');
  } else {
    std::string text = is_gguf ? describe_gguf(gguf_json(o.model)) : std::string();
    text += describe(config, has_vision) + report.str();
    for (const Type& type : kTypes) text += describe(type, need_of(checkpoint, type));
    write_output(text);
  }
  if (!report.clean()) {
    report_error(o.model + ": tensors do not match " + (is_gguf ? "the metadata" : "config.json"));
    return kFailure;
  }
  if (!has_vision) {
    const pllava::Index tokens = pllava::read_tokenizer(o.model).size();
    if (tokens > config.text.vocab) {
      report_error(o.model + ": the tokenizer has more tokens than the model");
      return kFailure;
    }
  } else if (has_tokenizer(o)) {
    const pllava::ModelFiles files = open_model(o);
    pllava::require_consistent(files.checkpoint.config(), files.tokenizer, files.preprocess);
  }
  return kSuccess;
}

}  // namespace cli
