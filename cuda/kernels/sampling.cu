// The next token from its logits, chosen as Sampler does on the host, by one block and without a
// sort.
//
// Candidates are ordered by keys: the logit as an integer of the same order, then the id, of equals
// the lowest first. So the likeliest candidate has distance 0, the others are as far as their keys
// are below its, and no two are equally far. top_k, top_p and the draw all ask for the first
// candidate at which a sum over it and all likelier ones reaches a goal. A pass sums an interval of
// distances in 16 parts, and the next divides the part in which the goal is reached. Each thread
// keeps what is left of its own share of the candidates, so that passes after the second have
// hardly anything to read.
//
// Sums are in double and in a fixed order, each thread's over its share, then the threads': the
// same logits always give the same token.
#include <cfloat>

#include "simt.cuh"

namespace pllava::cuda::kernels {

namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr int kParts = kWarps;  // each warp sums one

/// NaN or +infinity, which no logit may be.
PLLAVA_DEVICE bool damaged(float logit) {
  return !(logit < INFINITY);
}

PLLAVA_DEVICE float penalise(float logit, float penalty) {
  return fminf(logit < 0 ? logit * penalty : logit / penalty, FLT_MAX);
}

/// An integer of the order of floats. NaN is above all.
PLLAVA_DEVICE std::uint32_t ordered(float x) {
  if (x != x) return 0xffffffffu;
  if (x == 0) x = 0;  // -0 is not below 0
  std::uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

PLLAVA_DEVICE float float_of(std::uint32_t order) {
  const std::uint32_t bits = (order & 0x80000000u) != 0 ? order & 0x7fffffffu : ~order;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/// The logits as candidates, and the memory to search them.
struct Candidates {
  const float* logits;
  int count, id_bits;
  std::uint64_t* left;  // (count): of each thread's share, the distances that a search has left
  double* parts;        // (kParts, kThreads) in shared memory
  double* sums;         // (kParts) in shared memory
  std::uint64_t best;   // the key of distance 0

  PLLAVA_DEVICE std::uint64_t key(float logit, int id) const {
    const std::uint64_t last = (std::uint64_t{1} << id_bits) - 1;
    return (std::uint64_t{ordered(logit)} << id_bits) | (last - static_cast<std::uint64_t>(id));
  }
  PLLAVA_DEVICE float logit(std::uint64_t key) const {
    return float_of(static_cast<std::uint32_t>(key >> id_bits));
  }
  PLLAVA_DEVICE int id(std::uint64_t key) const {
    const std::uint64_t last = (std::uint64_t{1} << id_bits) - 1;
    return static_cast<int>(last - (key & last));
  }

  /// Calls visit(key) for this thread's share. Several logits are on their way at a time.
  template <class Visit>
  PLLAVA_DEVICE void each(const Visit& visit) const {
    constexpr int kAtOnce = 8;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kAtOnce * kThreads) {
      float some[kAtOnce];
      PLLAVA_UNROLL
      for (int j = 0; j < kAtOnce; ++j)
        some[j] = i + j * kThreads < count ? logits[i + j * kThreads] : 0.0f;
      PLLAVA_UNROLL
      for (int j = 0; j < kAtOnce; ++j)
        if (i + j * kThreads < count) visit(key(some[j], i + j * kThreads));
    }
  }
};

PLLAVA_DEVICE std::uint64_t block_max(std::uint64_t x, std::uint64_t* shared) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto warp_max = [](std::uint64_t v) {
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
      const std::uint64_t other = __shfl_xor_sync(0xffffffffu, v, lanes);
      v = other > v ? other : v;
    }
    return v;
  };
  x = warp_max(x);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  return warp_max(lane < kWarps ? shared[lane] : 0);
}

/// Of the candidates up to the distance `reach`, the distance of the first at which the sum of
/// weight(distance) is goal(sum over all) or more; of the last with a weight where rounding keeps
/// the sum below that.
template <class Weight, class Goal>
PLLAVA_DEVICE std::uint64_t first_to_reach(const Candidates& c, std::uint64_t reach,
                                           const Weight& weight, const Goal& goal) {
  const int me = static_cast<int>(threadIdx.x), warp = me / kWarp, lane = me % kWarp;
  std::uint64_t begin = 0, end = reach;  // the candidate is in between, both included
  double before = 0, wanted = 0;         // the sum before `begin`
  int left = 0;
  for (bool all = true;; all = false) {
    int shift = 0;
    while ((end - begin) >> shift >= kParts) ++shift;
    for (int part = 0; part < kParts; ++part) c.parts[part * kThreads + me] = 0;
    const int listed = left;
    left = 0;
    const auto take = [&](std::uint64_t distance) {
      if (distance < begin || distance > end) return;
      c.left[left++ * kThreads + me] = distance;
      c.parts[static_cast<int>((distance - begin) >> shift) * kThreads + me] += weight(distance);
    };
    if (all)
      c.each([&](std::uint64_t key) { take(c.best - key); });
    else
      for (int i = 0; i < listed; ++i) take(c.left[i * kThreads + me]);
    __syncthreads();
    double sum = 0;
    for (int i = lane; i < kThreads; i += kWarp) sum += c.parts[warp * kThreads + i];
    sum = warp_sum(sum);
    if (lane == 0) c.sums[warp] = sum;
    __syncthreads();
    if (all) {
      double total = 0;
      for (int part = 0; part < kParts; ++part) total += c.sums[part];
      wanted = goal(total);
    }
    int chosen = 0;
    double until = before;
    for (int part = 0; part < kParts && until < wanted; ++part) {
      if (c.sums[part] == 0) continue;
      chosen = part;
      before = until;
      until += c.sums[part];
    }
    begin += static_cast<std::uint64_t>(chosen) << shift;
    const std::uint64_t last = begin + (std::uint64_t{1} << shift) - 1;
    if (last < end) end = last;
    if (begin == end) return begin;
  }
}

PLLAVA_KERNEL(kThreads, 1)
sample_kernel(std::int32_t* id, float* logits, int count, int id_bits, Sampling s,
              std::uint64_t* left) {
  PLLAVA_DYNAMIC_SHARED(memory);
  PLLAVA_SHARED double sums[kParts];
  PLLAVA_SHARED std::uint64_t highest[kWarps];
  const int me = static_cast<int>(threadIdx.x);
  // Damaged logits stay as they are, and are found below.
  for (int i = me; i < s.penalised; i += kThreads) {
    const std::int32_t at = s.ids[i];
    if (at >= 0 && at < count && !damaged(logits[at])) logits[at] = penalise(logits[at], s.penalty);
  }
  __syncthreads();
  for (int i = me; i < s.excluded; i += kThreads) {
    const std::int32_t at = s.ids[s.penalised + i];
    if (at >= 0 && at < count && !damaged(logits[at])) logits[at] = -INFINITY;
  }
  __syncthreads();

  Candidates c{logits, count, id_bits, left, reinterpret_cast<double*>(memory), sums, 0};
  std::uint64_t best = 0;
  c.each([&](std::uint64_t key) { best = key > best ? key : best; });
  c.best = best = block_max(best, highest);
  const std::uint64_t order = best >> id_bits;
  if (order >= ordered(INFINITY) || order < ordered(-FLT_MAX)) {
    if (me == 0) *id = -1;
    return;
  }
  std::uint64_t chosen = 0;
  if (s.temperature != 0) {
    const double temperature = s.temperature, high = c.logit(best) / temperature;
    const auto probability = [&](std::uint64_t distance) {
      return exp(c.logit(best - distance) / temperature - high);
    };
    std::uint64_t reach = best - (std::uint64_t{ordered(-FLT_MAX)} << id_bits);  // not to -infinity
    if (s.top_k > 0 && s.top_k < count) {
      const auto one = [](std::uint64_t) { return 1.0; };
      const auto k = [&](double) { return static_cast<double>(s.top_k); };
      const std::uint64_t kth = best - first_to_reach(c, reach, one, k);
      reach = best - (kth >> id_bits << id_bits);  // with what ties with it
    }
    if (s.top_p < 1)
      reach = first_to_reach(c, reach, probability, [&](double total) { return s.top_p * total; });
    chosen = first_to_reach(c, reach, probability, [&](double total) {
      return nextafter(s.uniform * total, DBL_MAX);  // exceeds the place of the draw
    });
  }
  if (me == 0) *id = c.id(best - chosen);
}

}  // namespace

int sample(std::int32_t* id, float* logits, int count, const Sampling& sampling,
           std::uint64_t* candidates, Stream stream) {
  int id_bits = 0;
  while ((std::int64_t{1} << id_bits) < count) ++id_bits;
  constexpr int kShared = kParts * kThreads * static_cast<int>(sizeof(double));
  return launch(sample_kernel, {}, kThreads, kShared, stream, id, logits, count, id_bits, sampling,
                candidates);
}

}  // namespace pllava::cuda::kernels
