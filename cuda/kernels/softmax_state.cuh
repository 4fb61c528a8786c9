// Online softmax: the state of a partial attention result, and the merge of several.
//
// A state is the running max of the scores, the running sum of exp2(score - max), and the output
// values weighted with the same terms. Scores are in units of log2.
#pragma once

#include "mma.cuh"
#include "simt.cuh"

namespace pllava::cuda::kernels {

/// The state of one query with N elements of its output.
template <int N>
struct SoftmaxState {
  float o[N] = {};
  float max = -INFINITY, sum = 0.0f;
};

/// exp2(x - max); 0 for x = -inf, where the difference may be NaN.
PLLAVA_DEVICE float exp2_weight(float x, float max) {
  return x == -INFINITY ? 0.0f : exp2_approx(x - max);
}

/// Merges the states of all groups of `lanes` lanes in a warp; every lane gets the result.
template <int lanes, int N>
PLLAVA_DEVICE void merge_lanes(SoftmaxState<N>& state) {
  PLLAVA_UNROLL
  for (int other = lanes; other < kWarp; other *= 2) {
    const float other_max = __shfl_xor_sync(0xffffffffu, state.max, other);
    const float max = fmaxf(state.max, other_max), rescale = exp2_weight(state.max, max);
    state.max = max;
    state.sum *= rescale;
    state.sum += __shfl_xor_sync(0xffffffffu, state.sum, other);
    PLLAVA_UNROLL
    for (int i = 0; i < N; ++i) {
      state.o[i] *= rescale;
      state.o[i] += __shfl_xor_sync(0xffffffffu, state.o[i], other);
    }
  }
}

/// Merges `count` states of one output element: max_of(i), sum_of(i) and value_of(i).
template <class Max, class Sum, class Value>
PLLAVA_DEVICE SoftmaxState<1> merge_states(int count, const Max& max_of, const Sum& sum_of,
                                           const Value& value_of) {
  SoftmaxState<1> merged;
  for (int i = 0; i < count; ++i) merged.max = fmaxf(merged.max, max_of(i));
  for (int i = 0; i < count; ++i) {
    const float rescale = exp2_weight(max_of(i), merged.max);
    merged.sum += rescale * sum_of(i);
    merged.o[0] += rescale * value_of(i);
  }
  return merged;
}

}  // namespace pllava::cuda::kernels
