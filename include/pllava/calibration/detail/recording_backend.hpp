// A CPU backend that records the inputs of the language model's projections.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "pllava/calibration/input_sample.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/quantization/awq.hpp"
#include "pllava/weights/tensor_table.hpp"

namespace pllava::detail {

struct Recording {
  TensorTable tensors;  // of the whole model
  std::vector<PerProjection<InputSample>> layers;
  std::map<const void*, InputSample*> inputs;  // prepared matrix -> the sample of its input
};

/// The CPU backend, which also adds the inputs of the language model's projections to a Recording.
/// It identifies a projection by the address of its prepared weights. Weights stay unquantized,
/// whatever format their scope sets.
class RecordingBackend final : public cpu::Backend {
 public:
  RecordingBackend(cpu::Backend backend, std::shared_ptr<Recording> recording)
      : cpu::Backend(std::move(backend)), recording_(std::move(recording)) {}
  RecordingBackend fork() const { return {cpu::Backend::fork(), recording_}; }

  Weight prepare(std::span<const HostTensor> parts, WeightRole role) {
    std::vector<HostTensor> unquantized(parts.begin(), parts.end());
    const TensorSpec* spec = recording_->tensors.find(unquantized[0].name);
    const AwqRole* awq = spec != nullptr && spec->awq ? &*spec->awq : nullptr;
    for (HostTensor& part : unquantized) {
      if (part.dtype != DType::u8)
        part.quantization = {};
      else if (awq != nullptr)
        throw ArgumentError(part.name + ": the weights are quantized already");
    }
    Weight weight = cpu::Backend::prepare(unquantized, role);
    if (awq != nullptr && role != WeightRole::vector)  // neither a norm nor a bias
      recording_->inputs[weight.data.get()] =
          &recording_->layers.at(static_cast<std::size_t>(awq->layer))[awq->input];
    return weight;
  }
  void linear(View y, ConstView x, const Linear& w, Activation act) {
    record(x, w);
    cpu::Backend::linear(y, x, w, act);
  }
  void residual(View x, ConstView y, const Linear& w) {
    record(y, w);
    cpu::Backend::residual(x, y, w);
  }
  void glu(View g, ConstView h, const Linear& gate_up, Activation act) {
    record(h, gate_up);
    cpu::Backend::glu(g, h, gate_up, act);
  }

 private:
  void record(ConstView x, const Linear& w) {
    const auto found = recording_->inputs.find(w.weight.data.get());
    if (found != recording_->inputs.end()) found->second->add(x);
  }

  std::shared_ptr<Recording> recording_;
};

}  // namespace pllava::detail
