// A CPU backend that records the inputs of matrices.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pllava/calibration/input_sample.hpp"
#include "pllava/cpu/backend.hpp"

namespace pllava::detail {

struct Recording {
  /// The matrices to record, with their samples once they are known.
  std::map<std::string, std::shared_ptr<InputSample>>& inputs;
  Index max_rows;
  std::map<const void*, InputSample*> by_weight;  // of the prepared matrices
};

/// The CPU backend, which also adds the inputs of matrices to a Recording. It identifies a matrix
/// by the address of its prepared weights. Weights stay unquantized, whatever format their scope
/// sets.
class RecordingBackend final : public cpu::Backend {
 public:
  RecordingBackend(cpu::Backend backend, std::shared_ptr<Recording> recording)
      : cpu::Backend(std::move(backend)), recording_(std::move(recording)) {}
  RecordingBackend fork() const { return {cpu::Backend::fork(), recording_}; }

  Weight prepare(std::span<const HostTensor> parts, WeightRole role) {
    std::vector<HostTensor> unquantized(parts.begin(), parts.end());
    for (HostTensor& part : unquantized)
      if (part.dtype != DType::u8) part.quantization = {};
    Weight weight = cpu::Backend::prepare(unquantized, role);
    const auto first = recording_->inputs.find(parts[0].name);
    if (first == recording_->inputs.end()) return weight;
    for (const HostTensor& part : parts)
      if (part.dtype == DType::u8)
        throw ArgumentError(part.name + ": the weights are quantized already");
    std::shared_ptr<InputSample>& sample = first->second;
    if (sample == nullptr) sample = std::make_shared<InputSample>(recording_->max_rows);
    for (const HostTensor& part : parts) recording_->inputs[part.name] = sample;
    recording_->by_weight[weight.data.get()] = sample.get();
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
    const auto found = recording_->by_weight.find(w.weight.data.get());
    if (found != recording_->by_weight.end()) found->second->add(x);
  }

  std::shared_ptr<Recording> recording_;
};

}  // namespace pllava::detail
