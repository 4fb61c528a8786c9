// Sampling of the next token, with the result of Sampler on the host. One block samples, without a
// sort.
//
// A candidate's key is its logit as an order-preserving integer, followed by its inverted id, so
// that of equal logits the lowest id is first. A candidate's distance is the key of the best
// candidate minus its own key; distances are distinct. top_k, top_p and the draw are each a search
// for the first candidate in order of distance where a cumulative sum reaches a target. A pass of
// the search sums an interval of distances in 16 buckets; the next pass divides the bucket in which
// the target is reached. Each thread keeps a list of its own candidates in the interval, so passes
// after the second read little.
//
// Sums are in double and in a fixed order, first over the candidates of a thread, then over
// threads: equal logits give equal tokens.
#include <cfloat>

#include "simt.cuh"

namespace pllava::cuda::kernels {

namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr int kBuckets = kWarps;  // a warp sums each
static_assert(kBuckets == kWarps && kBuckets * kWarp == kThreads);
static_assert(kWarps <= kWarp, "block_max() reduces the warps' results in one warp");

/// NaN or +inf.
PLLAVA_DEVICE bool is_invalid(float logit) {
  return !(logit < INFINITY);
}

PLLAVA_DEVICE float penalized(float logit, float penalty) {
  return fminf(logit < 0 ? logit * penalty : logit / penalty, FLT_MAX);
}

/// An integer with the order of floats; NaN is the largest.
PLLAVA_DEVICE std::uint32_t ordered(float x) {
  if (x != x) return 0xffffffffu;
  if (x == 0) x = 0;  // -0 equals 0
  std::uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

/// The inverse of ordered().
PLLAVA_DEVICE float from_ordered(std::uint32_t order) {
  const std::uint32_t bits = (order & 0x80000000u) != 0 ? order & 0x7fffffffu : ~order;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/// The logits as candidates, and the memory of the search.
struct Candidates {
  const float* logits;
  int count, id_bits;
  std::uint64_t* in_interval;  // (count): each thread's candidates in the search interval
  double* thread_sums;         // (kBuckets, kThreads) in shared memory
  double* sums;                // (kBuckets) in shared memory
  std::uint64_t best;          // the largest key

  PLLAVA_DEVICE std::uint64_t key(float logit, int id) const {
    const std::uint64_t last = (std::uint64_t{1} << id_bits) - 1;
    return (std::uint64_t{ordered(logit)} << id_bits) | (last - static_cast<std::uint64_t>(id));
  }
  PLLAVA_DEVICE float logit(std::uint64_t key) const {
    return from_ordered(static_cast<std::uint32_t>(key >> id_bits));
  }
  PLLAVA_DEVICE int id(std::uint64_t key) const {
    const std::uint64_t last = (std::uint64_t{1} << id_bits) - 1;
    return static_cast<int>(last - (key & last));
  }

  /// Calls visit(key) for this thread's candidates, with several loads in flight.
  template <class Visit>
  PLLAVA_DEVICE void for_each(const Visit& visit) const {
    constexpr int kLoads = 8;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kLoads * kThreads) {
      float loaded[kLoads];
      PLLAVA_UNROLL
      for (int j = 0; j < kLoads; ++j)
        loaded[j] = i + j * kThreads < count ? logits[i + j * kThreads] : 0.0f;
      PLLAVA_UNROLL
      for (int j = 0; j < kLoads; ++j)
        if (i + j * kThreads < count) visit(key(loaded[j], i + j * kThreads));
    }
  }
};

PLLAVA_DEVICE std::uint64_t block_max(std::uint64_t x, std::uint64_t (&shared)[kWarps]) {
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

/// Searches the candidates up to the distance `limit` for the first where the cumulative sum of
/// weight(distance) is at least target(total sum), and returns its distance. Where rounding keeps
/// the sum below the target, that is the last candidate with a weight.
template <class Weight, class Target>
PLLAVA_DEVICE std::uint64_t search_sum(const Candidates& c, std::uint64_t limit,
                                       const Weight& weight, const Target& target_of) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  std::uint64_t begin = 0, end = limit;  // the search interval, both included
  double before = 0, target = 0;         // `before`: the sum of smaller distances than `begin`
  int kept = 0;
  for (bool first_pass = true;; first_pass = false) {
    int shift = 0;
    while ((end - begin) >> shift >= kBuckets) ++shift;
    for (int b = 0; b < kBuckets; ++b) c.thread_sums[b * kThreads + thread] = 0;
    const int listed = kept;
    kept = 0;
    const auto add = [&](std::uint64_t distance) {
      if (distance < begin || distance > end) return;
      c.in_interval[kept++ * kThreads + thread] = distance;
      const int bucket = static_cast<int>((distance - begin) >> shift);
      c.thread_sums[bucket * kThreads + thread] += weight(distance);
    };
    if (first_pass)
      c.for_each([&](std::uint64_t key) { add(c.best - key); });
    else
      for (int i = 0; i < listed; ++i) add(c.in_interval[i * kThreads + thread]);
    __syncthreads();
    double sum = 0;
    for (int i = lane; i < kThreads; i += kWarp) sum += c.thread_sums[warp * kThreads + i];
    sum = warp_sum(sum);
    if (lane == 0) c.sums[warp] = sum;
    __syncthreads();
    if (first_pass) {
      double total = 0;
      for (int b = 0; b < kBuckets; ++b) total += c.sums[b];
      target = target_of(total);
    }
    int chosen = 0;
    double until = before;
    for (int b = 0; b < kBuckets && until < target; ++b) {
      if (c.sums[b] == 0) continue;
      chosen = b;
      before = until;
      until += c.sums[b];
    }
    begin += static_cast<std::uint64_t>(chosen) << shift;
    const std::uint64_t last = begin + (std::uint64_t{1} << shift) - 1;
    if (last < end) end = last;
    if (begin == end) return begin;
  }
}

PLLAVA_KERNEL(kThreads, 1)
sample_kernel(std::int32_t* id, float* logits, int count, int id_bits, Sampling s,
              std::uint64_t* workspace) {
  PLLAVA_DYNAMIC_SHARED(memory);
  PLLAVA_SHARED double sums[kBuckets];
  PLLAVA_SHARED std::uint64_t maxima[kWarps];
  const int thread = static_cast<int>(threadIdx.x);
  // Invalid logits are not changed here, so that they are found below.
  for (int i = thread; i < s.num_penalized; i += kThreads) {
    const std::int32_t at = s.ids[i];
    if (at >= 0 && at < count && !is_invalid(logits[at]))
      logits[at] = penalized(logits[at], s.penalty);
  }
  __syncthreads();
  for (int i = thread; i < s.num_excluded; i += kThreads) {
    const std::int32_t at = s.ids[s.num_penalized + i];
    if (at >= 0 && at < count && !is_invalid(logits[at])) logits[at] = -INFINITY;
  }
  __syncthreads();

  Candidates c{logits, count, id_bits, workspace, reinterpret_cast<double*>(memory), sums, 0};
  std::uint64_t best = 0;
  c.for_each([&](std::uint64_t key) { best = key > best ? key : best; });
  c.best = best = block_max(best, maxima);
  const std::uint64_t order = best >> id_bits;
  if (order >= ordered(INFINITY) || order < ordered(-FLT_MAX)) {
    if (thread == 0) *id = -1;
    return;
  }
  std::uint64_t chosen = 0;
  if (s.temperature != 0) {
    const double temperature = s.temperature, max = c.logit(best) / temperature;
    const auto probability = [&](std::uint64_t distance) {
      return exp(c.logit(best - distance) / temperature - max);
    };
    std::uint64_t limit = best - (std::uint64_t{ordered(-FLT_MAX)} << id_bits);  // excludes -inf
    if (s.top_k > 0 && s.top_k < count) {
      const auto one = [](std::uint64_t) { return 1.0; };
      const auto k = [&](double) { return static_cast<double>(s.top_k); };
      const std::uint64_t kth = best - search_sum(c, limit, one, k);
      limit = best - (kth >> id_bits << id_bits);  // includes ties with the k-th
    }
    if (s.top_p < 1)
      limit = search_sum(c, limit, probability, [&](double total) { return s.top_p * total; });
    chosen = search_sum(c, limit, probability, [&](double total) {
      return nextafter(s.uniform * total, DBL_MAX);  // the sum must exceed the draw
    });
  }
  if (thread == 0) *id = c.id(best - chosen);
}

}  // namespace

int sample(std::int32_t* id, float* logits, int count, const Sampling& sampling,
           std::uint64_t* workspace, Stream stream) {
  int id_bits = 0;
  while ((std::int64_t{1} << id_bits) < count) ++id_bits;
  constexpr int kShared = kBuckets * kThreads * static_cast<int>(sizeof(double));
  static_assert(kShared <= kMaxSharedBytes);
  return launch(sample_kernel, {}, kThreads, kShared, stream, id, logits, count, id_bits, sampling,
                workspace);
}

}  // namespace pllava::cuda::kernels
