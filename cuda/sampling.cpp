// Sampling of the next token.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "operands.hpp"
#include "step.hpp"

namespace pllava::cuda {

/// The ids that penalties change are uploaded with each call: they are few, and the device keeps no
/// state of a sampler.
std::int32_t Backend::sample(View id, View logits, Sampler& sampler) {
  const SamplingOptions& options = sampler.options();
  const Sampler::Step step = sampler.next();
  const Index count = logits.shape.count();
  std::vector<std::int32_t> ids(step.penalised.begin(), step.penalised.end());
  ids.insert(ids.end(), step.suppressed.begin(), step.suppressed.end());
  auto scope = this->scope();
  const View device_ids = scratch({static_cast<Index>(ids.size())}, DType::i32);
  const View workspace = scratch({count * Index{sizeof(std::uint64_t)}}, DType::u8);
  upload(device_ids, ids.data());
  kernels::Sampling call;
  call.ids = device_ids.as<std::int32_t>();
  call.num_penalized = static_cast<int>(step.penalised.size());
  call.num_excluded = static_cast<int>(step.suppressed.size());
  call.penalty = options.repetition_penalty;
  call.temperature = options.temperature;
  call.top_k = static_cast<int>(std::min(options.top_k, count));
  call.top_p = options.top_p;
  call.uniform = step.uniform;
  enqueue("sample", [&] {
    return kernels::sample(id.as<std::int32_t>(), floats(logits), static_cast<int>(count), call,
                           workspace.as<std::uint64_t>(), device_->stream());
  });
  std::int32_t chosen = -1;
  download(&chosen, id);
  if (chosen < 0) {
    std::vector<float> host(static_cast<std::size_t>(count));
    download(host.data(), logits);
    return sampler.sample(host);  // throws an error that names the invalid logit
  }
  sampler.accept(chosen);
  return chosen;
}

}  // namespace pllava::cuda
