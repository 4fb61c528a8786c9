// Bodies of weights/weight_source.hpp.
#pragma once

#include <algorithm>
#include <atomic>

#include "pllava/weights/weight_source.hpp"

namespace pllava {
namespace detail {

/// Reports progress for each tensor that is read.
class ProgressWeights final : public WeightSource {
 public:
  ProgressWeights(WeightScope weights, Index total, RunControl control)
      : weights_(std::move(weights)), total_(total), control_(std::move(control)) {}

  HostTensor tensor(const TensorSpec& spec) const override {
    HostTensor tensor = weights_.tensor(spec);
    control_.at("load", std::min(++read_, total_), total_);  // tied weights are read twice
    return tensor;
  }
  bool contains(const std::string& name) const override { return weights_.contains(name); }

 private:
  WeightScope weights_;
  Index total_;
  RunControl control_;
  mutable std::atomic<Index> read_{0};
};

}  // namespace detail

PLLAVA_INLINE WeightScope with_progress(WeightScope weights, Index total, RunControl control) {
  control.at("load", 0, total);
  return WeightScope(std::make_shared<const detail::ProgressWeights>(std::move(weights), total,
                                                                     std::move(control)));
}

}  // namespace pllava
