// Reads golden tensors and compares with them.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "pllava/core/dtype.hpp"
#include "pllava/weights/safetensors.hpp"
#include "support/catch.hpp"

namespace test {

inline std::vector<float> golden_floats(const pllava::SafetensorsFile& file,
                                        const std::string& name) {
  const pllava::HostTensor t = file.tensor(name);
  std::vector<float> v(static_cast<std::size_t>(t.shape.count()));
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = pllava::load_float(t.data, t.dtype, static_cast<pllava::Index>(i));
  return v;
}

inline std::vector<std::int32_t> golden_ids(const pllava::SafetensorsFile& file,
                                            const std::string& name) {
  const pllava::HostTensor t = file.tensor(name);
  const auto* p = reinterpret_cast<const std::int32_t*>(t.data);
  return {p, p + t.shape.count()};
}

/// |a - b| / |b| in the Euclidean norm.
inline double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace test
