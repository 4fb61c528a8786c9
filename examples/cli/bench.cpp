// bench: benchmarks the parts of a model on this machine.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench_report.hpp"
#include "commands.hpp"
#include "device.hpp"
#include "model.hpp"
#include "model_bench.hpp"
#include "output.hpp"
#include "pllava/pllava.hpp"

namespace cli {
namespace {

/// A model to benchmark, before its weights are loaded.
struct BenchModel {
  pllava::ModelConfig config;
  pllava::WeightScope weights;
  pllava::DType dtype = pllava::DType::f32;
  pllava::QuantizeOptions formats;
  std::shared_ptr<pllava::cpu::PackedWeights> packed;
};

BenchModel random_model(const Options& o) {
  const pllava::DType dtype = o.dtype.value_or(pllava::DType::f32);
  const pllava::QuantizeOptions formats = quantize_options(o);
  return {pllava::ModelConfig::preset(o.random_weights),
          pllava::quantized(pllava::RandomWeights::scope(o.generate.sampling.seed, dtype), formats),
          dtype, formats, nullptr};
}

BenchModel checkpoint_model(const Options& o) {
  const pllava::LoadOptions load = load_options(o);
  const auto checkpoint = pllava::Checkpoint::open(o.model, load);
  const pllava::DType dtype = o.dtype.value_or(checkpoint.report().dtype());
  const bool stored_quantized = checkpoint.stored_formats().any();
  return {checkpoint.config(), checkpoint[""], dtype,
          stored_quantized ? checkpoint.stored_formats() : quantize_options(o),
          pllava::packed_weights(checkpoint, load, dtype)};
}

std::vector<BenchPart> run_bench(const Context& context, const BenchModel& model) {
  const Options& o = context.options;
  pllava::ModelConfig config = model.config;
  config.frames = o.frames.value_or(config.frames);
  if (o.frames) config.pool.output.t = std::min(config.pool.output.t, *o.frames);
  const auto run = [&](auto backend) {
    ModelBench bench(context, std::move(backend), config, model.formats,
                     pllava::with_progress(model.weights, pllava::model_tensors(config).required(),
                                           context.control()));
    if (model.packed != nullptr) model.packed->commit();
    return bench.run();
  };
  return on_device(o, model.dtype, run, model.packed);
}

}  // namespace

int bench(const Context& context) {
  const Options& o = context.options;
  const BenchModel model = o.model.empty() ? random_model(o) : checkpoint_model(o);
  const std::vector<BenchPart> parts = run_bench(context, model);
  if (!o.json) {
    write_output(bench_table(parts));
    return kSuccess;
  }
  const nlohmann::ordered_json json = {
      {"model", o.model.empty() ? o.random_weights : o.model},
      {"dtype", pllava::name_of(model.dtype)},
      {"vision_weights", pllava::name_of(model.formats.vision.format)},
      {"lm_weights", pllava::name_of(model.formats.language.format)},
      {"int8_kv", o.int8_kv},
      {"device", o.gpu ? "cuda:" + std::to_string(*o.gpu) : "cpu"},
      {"parts", bench_json(parts)}};
  write_output(json.dump() + '\n');
  return kSuccess;
}

}  // namespace cli
