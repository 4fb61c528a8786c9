// Products of floats, and all kernels of rows. See simd_base.hpp.

// ---- activations --------------------------------------------------------------------------------

/// exp(x), relative error about 1e-7; 0 below -87.7, where the exponent of the result is that of
/// zero; clamped above 88.3.
PLLAVA_VECTOR vf exp(vf x) {
  x = larger(splat(-88.03f), x);
  x = select(x > 88.3f, splat(88.3f), x);
  const vf shifted = x * 1.44269504f + 12582912.0f;  // 1.5 · 2^23: rounds to an integer
  const vf n = shifted - 12582912.0f;
  const vf r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const vi exponent = (as_int(shifted) - 0x4b400000 + 127) << 23;
  return p * as_float(exponent);
}

/// erf(x), absolute error about 1e-7: series for |x| < 1, continued by 1 - exp(-x²)·P(1/(1+px)).
PLLAVA_VECTOR vf erf(vf x) {
  const vf a = magnitude(x);
  const vf s = x * x;
  vf near = s * 7.853861353e-5f - 8.010193625e-4f;
  near = near * s + 5.188327685e-3f;
  near = near * s - 2.685381193e-2f;
  near = near * s + 1.128358514e-1f;
  near = near * s - 3.761262582e-1f;
  near = (near * s + 1.128379165f) * x;
  const vf t = 1.0f / (a * 0.5f + 1.0f);
  vf q = t * 0.17087277f - 0.82215223f;  // erfc(a) = t·exp(-a² + Q(t)), after Chebyshev fitting
  q = q * t + 1.48851587f;
  q = q * t - 1.13520398f;
  q = q * t + 0.27886807f;
  q = q * t - 0.18628806f;
  q = q * t + 0.09678418f;
  q = q * t + 0.37409196f;
  q = q * t + 1.00002368f;
  q = q * t - 1.26551223f;
  const vf far = 1.0f - t * exp(q - s);
  return select(a < 1.0f, near, select(x < 0.0f, -far, far));
}

PLLAVA_VECTOR vf apply(Activation act, vf x) {
  switch (act) {
    case Activation::none: return x;
    case Activation::quick_gelu: return x / (1.0f + exp(x * -1.702f));
    case Activation::silu: return x / (1.0f + exp(-x));
    case Activation::gelu: return x * 0.5f * (1.0f + erf(x * 0.70710678f));
  }
  return x;
}

/// Calls f(vector index) over n elements; the tail goes through a padded copy by the caller's f.
struct Tail {
  float data[PLLAVA_LANES] = {};
};
PLLAVA_VECTOR vf load_part(const float* p, Index n) {
  Tail t;
  for (Index i = 0; i < n; ++i) t.data[i] = p[i];
  return load(t.data);
}
PLLAVA_VECTOR void store_part(float* p, vf v, Index n) {
  Tail t;
  store(t.data, v);
  for (Index i = 0; i < n; ++i) p[i] = t.data[i];
}

// ---- products -----------------------------------------------------------------------------------

template <Index MR, Index V, Index U, class T>
void columns_of(const float* a, Index stride, const T* b, Index k, float* c) {
  vf acc[U][MR][V] = {};
  const auto add_line = [&](vf(&sums)[MR][V], Index i) __attribute__((always_inline)) {
    if constexpr (sizeof(T) == 1) __builtin_prefetch(b + (i + 64) * kPanel);
    vf line[V];
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) line[v] = load(b + i * kPanel + v * W);
#pragma GCC unroll 16
    for (Index r = 0; r < MR; ++r)
#pragma GCC unroll 8
      for (Index v = 0; v < V; ++v) sums[r][v] += a[i * stride + r] * line[v];
  };
  Index i = 0;
  for (; i + U <= k; i += U)
#pragma GCC unroll 4
    for (Index u = 0; u < U; ++u) add_line(acc[u], i + u);
  for (; i < k; ++i) add_line(acc[0], i);
  store_sums(c, acc);
}

template <class T>
void tile_of(Index rows, const float* a, Index stride, const T* b, Index k, float* c) {
  with_shape(rows, [&]<Index MR, Index V, Index U> {
    for (Index n = 0; n < kPanel; n += V * W) columns_of<MR, V, U>(a, stride, b + n, k, c + n);
  });
}

Index packed_rows(Index rows) {
  if (rows <= 2) return rows;
  if (rows <= 4) return 4;
  if (W < 16) return 6;
  return rows <= 8 ? 8 : 14;
}

// ---- rows ---------------------------------------------------------------------------------------

void bf16_to_float(float* dst, const bf16* src, Index n) {
  Index i = 0;
  for (; i + W <= n; i += W) store(dst + i, load(src + i));
  for (; i < n; ++i) dst[i] = to_float(src[i]);
}

void float_to_bf16(bf16* dst, const float* src, Index n) {
  Index i = 0;
  for (; i + W <= n; i += W) store(dst + i, load(src + i));
  for (; i < n; ++i) dst[i] = from_float<bf16>(src[i]);
}

void activate(float* x, Index n, Activation act) {
  if (act == Activation::none) return;
  Index i = 0;
  for (; i + W <= n; i += W) store(x + i, apply(act, load(x + i)));
  if (i < n) store_part(x + i, apply(act, load_part(x + i, n - i)), n - i);
}

void act_mul(float* gate, const float* up, Index n, Activation act) {
  Index i = 0;
  for (; i + W <= n; i += W) store(gate + i, apply(act, load(gate + i)) * load(up + i));
  if (i < n)
    store_part(gate + i, apply(act, load_part(gate + i, n - i)) * load_part(up + i, n - i), n - i);
}

void add(float* x, const float* y, Index n) {
  Index i = 0;
  for (; i + W <= n; i += W) store(x + i, load(x + i) + load(y + i));
  for (; i < n; ++i) x[i] += y[i];
}

void scale_add(float* x, float factor, const float* y, Index n) {
  Index i = 0;
  for (; i + W <= n; i += W) store(x + i, load(x + i) * factor + load(y + i));
  for (; i < n; ++i) x[i] = x[i] * factor + y[i];
}

float quantize_row(std::int8_t* q, const float* x, Index n) {
  vf highest{};
  Index i = 0;
  for (; i + W <= n; i += W) highest = larger(magnitude(load(x + i)), highest);
  float top = largest(highest);
  for (; i < n; ++i) {
    const float a = x[i] < 0 ? -x[i] : x[i];
    top = a > top ? a : top;
  }
  const float inverse = top > 0 ? 127.0f / top : 0.0f;
  const auto rounded = [&](vf v) __attribute__((always_inline)) {
    return as_int(v * inverse + 12582912.0f) - 0x4b400000;
  };
  for (i = 0; i + W <= n; i += W) narrow(q + i, rounded(load(x + i)));
  if (i < n) {
    const vi last = rounded(load_part(x + i, n - i));
    for (Index lane = 0; i < n; ++i, ++lane) q[i] = static_cast<std::int8_t>(last[lane]);
  }
  return top / 127.0f;
}

/// Finite floats as pairs of bf16, halves rounded away from zero.
PLLAVA_VECTOR vi pairs_of(vf first, vf second) {
  const vi low = ((as_int(first) + 0x8000) >> 16) & 0xffff;
  return low | ((as_int(second) + 0x8000) & (std::int32_t)0xffff0000);
}

template <class T>
void widen_lines(T* dst, const std::int8_t* src, const float* of_columns, const float* of_lines,
                 Index lines) {
  const auto wide = [&](Index line, Index n) __attribute__((always_inline)) {
    return load(src + line * kPanel + n) *
           (of_columns != nullptr ? load(of_columns + n) : splat(of_lines[line]));
  };
  for (Index n = 0; n < kPanel; n += W) {
    if constexpr (std::is_same_v<T, bf16>)
      for (Index l = 0; l < lines; l += 2) {
        const vi pairs = pairs_of(wide(l, n), wide(l + 1, n));
        __builtin_memcpy(static_cast<void*>(dst + l * kPanel + 2 * n), &pairs, sizeof pairs);
      }
    else
      for (Index l = 0; l < lines; ++l) store(dst + l * kPanel + n, wide(l, n));
  }
}

/// Puts 32 weights of G rows from r on into the left operand of a tile, where the words of the rows
/// lie together: of a weight in f32, of a pair in bf16.
template <Index G, class T>
PLLAVA_VECTOR void place(T* weights, Index stride, Index r, Index key,
                         const T (&lines)[G][kPanel]) {
  constexpr Index kWords = kPanel * static_cast<Index>(sizeof(T)) / 4, kPair = kPanel / kWords;
  T* column = weights + (key * stride + r * kPair);
  if constexpr (G == 4) {
    using Words = std::int32_t __attribute__((vector_size(16)));
    for (Index w = 0; w < kWords; w += 4) {
      Words in[4];
      for (Index g = 0; g < 4; ++g) __builtin_memcpy(&in[g], &lines[g][w * kPair], sizeof(Words));
      const Words a = __builtin_shufflevector(in[0], in[1], 0, 4, 1, 5);
      const Words b = __builtin_shufflevector(in[2], in[3], 0, 4, 1, 5);
      const Words c = __builtin_shufflevector(in[0], in[1], 2, 6, 3, 7);
      const Words d = __builtin_shufflevector(in[2], in[3], 2, 6, 3, 7);
      const Words out[4] = {
          __builtin_shufflevector(a, b, 0, 1, 4, 5), __builtin_shufflevector(a, b, 2, 3, 6, 7),
          __builtin_shufflevector(c, d, 0, 1, 4, 5), __builtin_shufflevector(c, d, 2, 3, 6, 7)};
      for (Index i = 0; i < 4; ++i)
        __builtin_memcpy(static_cast<void*>(column + (w + i) * stride * kPair), &out[i],
                         sizeof(Words));
    }
  } else if (stride == 1) {
    __builtin_memcpy(static_cast<void*>(column), lines[0], sizeof lines[0]);
  } else {
    for (Index w = 0; w < kWords; ++w)
      __builtin_memcpy(static_cast<void*>(column + w * stride * kPair), &lines[0][w * kPair], 4);
  }
}

/// Of `used` of the G rows from r on; the weights of the others are zero.
template <Index G, class T>
PLLAVA_VECTOR void softmax_rows(const SoftmaxBlock& b, Index r, Index used, T* weights) {
  const float minus_infinity = -__builtin_inff();
  vi lane{};
  for (Index i = 0; i < W; ++i) lane[i] = static_cast<std::int32_t>(i);
  const auto score = [&](Index row, Index key) __attribute__((always_inline)) {  // of W keys
    vf s = load(b.scores + key / kPanel * b.stride * kPanel + row * kPanel + key % kPanel);
    if (b.key_scales != nullptr) s *= load(b.key_scales + key);
    if (key + W <= b.seen[row]) return s;
    return select(lane < static_cast<std::int32_t>(b.seen[row] - key), s, splat(minus_infinity));
  };
  float top[G] = {};
  for (Index g = 0; g < used; ++g) {
    vf highest = splat(b.top[r + g]);
    for (Index key = 0; key < b.seen[r + g]; key += W) highest = larger(score(r + g, key), highest);
    top[g] = largest(highest);
  }
  vf sums[G] = {};
  T lines[G][kPanel] = {};
  for (Index key = 0; key < b.keys; key += kPanel) {
    for (Index g = 0; g < used; ++g)
      for (Index i = 0; i < kPanel; i += W) {
        vf e = key + i < b.seen[r + g] ? exp(score(r + g, key + i) - top[g]) : vf{};
        sums[g] += e;
        if (b.value_scales != nullptr) e *= load(b.value_scales + key + i);
        store(&lines[g][i], e);
      }
    place<G>(weights, b.stride, r, key, lines);
  }
  for (Index g = 0; g < used; ++g) {
    b.shrink[r + g] = b.seen[r + g] > 0 ? exp(splat(b.top[r + g] - top[g]))[0] : 1.0f;
    b.total[r + g] = b.total[r + g] * b.shrink[r + g] + sum(sums[g]);
    b.top[r + g] = top[g];
  }
}

template <class T>
void softmax(const SoftmaxBlock& b, T* weights) {
  Index r = 0;  // four at a time where their tile has so many, the last of them unused perhaps
  for (; b.rows - r > 1 && r + 4 <= b.stride; r += 4)
    softmax_rows<4>(b, r, b.rows - r < 4 ? b.rows - r : 4, weights);
  for (; r < b.rows; ++r) softmax_rows<1>(b, r, 1, weights);
}

/// A line of weights: of one key in f32, half of that of a pair of keys in bf16.
PLLAVA_VECTOR void store_weights(float* weights, Index key, vf first, vf second) {
  store(weights + key * kPanel, first);
  store(weights + (key + 1) * kPanel, second);
}
PLLAVA_VECTOR void store_weights(bf16* weights, Index key, vf first, vf second) {
  const vi words = pairs_of(first, second);
  __builtin_memcpy(static_cast<void*>(weights + key * kPanel), &words, sizeof words);
}

template <class T>
void softmax_columns(const SoftmaxColumns& b, T* weights) {
  constexpr Index kStep = std::is_same_v<T, bf16> ? 2 : 1;  // elements of a query in a line
  for (Index n = 0; n < kPanel; n += W) {
    const vi seen = load_words(b.seen + n);
    Index everyone = b.keys;  // how many keys all queries see
    for (Index i = n; i < n + W; ++i) everyone = b.seen[i] < everyone ? b.seen[i] : everyone;
    const auto score = [&](Index key) __attribute__((always_inline)) {
      const vf s = load(b.scores + key * kPanel + n);
      if (key < everyone) return s;
      return select(seen > static_cast<std::int32_t>(key), s, splat(-__builtin_inff()));
    };
    const vf before = load(b.top + n);
    vf highest[4] = {before, before, before, before};
    for (Index key = 0; key < b.keys; key += 4)
#pragma GCC unroll 4
      for (Index i = 0; i < 4; ++i) highest[i] = larger(score(key + i), highest[i]);
    for (const Index i : {1, 2, 3}) highest[0] = larger(highest[i], highest[0]);
    const vf top = highest[0], shrink = exp(before - top);
    vf total = load(b.total + n) * shrink, of_seconds{};
    for (Index key = 0; key < b.keys; key += 2) {
      const vf first = exp(score(key) - top), second = exp(score(key + 1) - top);
      total += first;
      of_seconds += second;
      store_weights(weights + n * kStep, key, first, second);
    }
    store(b.top + n, top);
    store(b.total + n, total + of_seconds);
    store(b.shrink + n, shrink);
  }
}

void scale_add_columns(float* x, const float* factors, const float* y, Index lines) {
  for (Index n = 0; n < kPanel; n += W) {
    const vf factor = load(factors + n);
    for (Index l = 0; l < lines; ++l) {
      float* line = x + l * kPanel + n;
      store(line, load(line) * factor + load(y + l * kPanel + n));
    }
  }
}

void split_pairs(float* dst, const bf16* src, Index pairs) {
  for (Index i = 0; i < pairs; ++i, src += 2 * kPanel, dst += 2 * kPanel)
    for (Index n = 0; n < kPanel; n += W) {
      const vi words = load_words(src + 2 * n);
      store(dst + n, as_float(words << 16));
      store(dst + kPanel + n, as_float(words & (std::int32_t)0xffff0000));
    }
}

void norm(float* y, const float* x, const float* gain, const float* bias, float eps, Index n,
          bool rms) {
  float mean = 0;
  Index i = 0;
  if (!rms) {
    vf t{};
    for (; i + W <= n; i += W) t += load(x + i);
    mean = sum(t);
    for (; i < n; ++i) mean += x[i];
    mean /= static_cast<float>(n);
  }
  vf t{};
  for (i = 0; i + W <= n; i += W) {
    const vf d = load(x + i) - mean;
    t += d * d;
  }
  float variance = sum(t);
  for (; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  const float inverse = 1.0f / __builtin_sqrtf(variance / static_cast<float>(n) + eps);
  for (i = 0; i + W <= n; i += W) {
    vf v = (load(x + i) - mean) * inverse * load(gain + i);
    if (bias != nullptr) v += load(bias + i);
    store(y + i, v);
  }
  for (; i < n; ++i) {
    const float v = (x[i] - mean) * inverse * gain[i];
    y[i] = bias != nullptr ? v + bias[i] : v;
  }
}

/// A table with these kernels.
constexpr Kernels with_floats(Kernels table) {
  table.max_rows = kMaxRows;
  table.packed_rows = packed_rows;
  table.tile_f32 = tile_of<float>;
  table.tile_bytes = tile_of<std::int8_t>;
  table.quantize_row = quantize_row;
  table.bf16_to_float = bf16_to_float;
  table.float_to_bf16 = float_to_bf16;
  table.activate = activate;
  table.act_mul = act_mul;
  table.add = add;
  table.softmax_f32 = softmax<float>;
  table.softmax_bf16 = softmax<bf16>;
  table.softmax_columns_f32 = softmax_columns<float>;
  table.softmax_columns_bf16 = softmax_columns<bf16>;
  table.scale_add_columns = scale_add_columns;
  table.split_pairs = split_pairs;
  table.widen_f32 = widen_lines<float>;
  table.widen_bf16 = widen_lines<bf16>;
  table.scale_add = scale_add;
  table.norm = norm;
  return table;
}
