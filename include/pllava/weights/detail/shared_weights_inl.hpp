// Bodies of weights/shared_weights.hpp.
#pragma once

#include <algorithm>

#include "pllava/weights/shared_weights.hpp"

namespace pllava {
namespace detail {

class SharingWeights final : public WeightSource {
 public:
  SharingWeights(WeightScope weights, std::shared_ptr<SharedWeights> shared,
                 std::set<std::string> own)
      : weights_(std::move(weights)), shared_(std::move(shared)), own_(std::move(own)) {}

  HostTensor tensor(const TensorSpec& spec) const override { return weights_.tensor(spec); }
  bool contains(const std::string& name) const override { return weights_.contains(name); }
  SharedWeights* shared(const std::vector<std::string>& names) const override {
    const bool is_own = std::any_of(names.begin(), names.end(),
                                    [&](const std::string& name) { return own_.count(name) != 0; });
    return is_own ? nullptr : shared_.get();
  }

 private:
  WeightScope weights_;
  std::shared_ptr<SharedWeights> shared_;
  std::set<std::string> own_;
};

}  // namespace detail

PLLAVA_INLINE WeightScope share(WeightScope weights, std::shared_ptr<SharedWeights> shared,
                                std::set<std::string> own) {
  return WeightScope(std::make_shared<const detail::SharingWeights>(
      std::move(weights), std::move(shared), std::move(own)));
}

}  // namespace pllava
