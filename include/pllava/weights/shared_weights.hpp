// Prepared weights that several models share: a base and its adapters.
#pragma once

#include <any>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "pllava/weights/weight_source.hpp"

namespace pllava {

/// The weights that Backend::prepare returned, by key. All models that share them use one device
/// and the same types. Threads: safe.
class SharedWeights {
 public:
  /// The weight of `key`; the first call makes it with `prepare`.
  template <class Weight, class Prepare>
  Weight get(const std::string& key, const Prepare& prepare) {
    {
      const std::scoped_lock lock(mutex_);
      if (const auto found = weights_.find(key); found != weights_.end())
        return std::any_cast<const Weight&>(found->second);
    }
    Weight weight = prepare();
    const std::scoped_lock lock(mutex_);
    weights_.try_emplace(key, weight);
    return weight;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::any> weights_;
};

/// The same weights, prepared once for all models with the same `shared`. Tensors named in `own`
/// are of this model alone.
WeightScope share(WeightScope weights, std::shared_ptr<SharedWeights> shared,
                  std::set<std::string> own);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/weights/detail/shared_weights_inl.hpp"
#endif
