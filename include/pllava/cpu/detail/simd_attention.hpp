// Attention kernels: online softmax, rescaling, conversion of KV panels. See simd_base.hpp.

/// Two vectors of finite floats as bf16 pairs; ties round away from zero.
PLLAVA_VECTOR VecI32 pack_bf16_pairs(VecF32 first, VecF32 second) {
  const VecI32 low = ((as_i32(first) + 0x8000) >> 16) & 0xffff;
  return low | ((as_i32(second) + 0x8000) & (std::int32_t)0xffff0000);
}

// ---- KV panels ----------------------------------------------------------------------------------

template <class T>
void dequantize_panel(T* dst, const std::int8_t* src, const float* column_scales,
                      const float* k_scales, Index k) {
  const auto dequantized = [&](Index i, Index n) __attribute__((always_inline)) {
    return load(src + i * kPanelWidth + n) *
           (column_scales != nullptr ? load(column_scales + n) : broadcast(k_scales[i]));
  };
  for (Index n = 0; n < kPanelWidth; n += kLanes) {
    if constexpr (std::is_same_v<T, bf16>)
      for (Index i = 0; i < k; i += 2) {
        const VecI32 pairs = pack_bf16_pairs(dequantized(i, n), dequantized(i + 1, n));
        __builtin_memcpy(static_cast<void*>(dst + i * kPanelWidth + 2 * n), &pairs, sizeof pairs);
      }
    else
      for (Index i = 0; i < k; ++i) store(dst + i * kPanelWidth + n, dequantized(i, n));
  }
}

void unpack_bf16_panel(float* dst, const bf16* src, Index pairs) {
  for (Index i = 0; i < pairs; ++i, src += 2 * kPanelWidth, dst += 2 * kPanelWidth)
    for (Index n = 0; n < kPanelWidth; n += kLanes) {
      const VecI32 words = load_i32(src + 2 * n);
      store(dst + n, as_f32(words << 16));
      store(dst + kPanelWidth + n, as_f32(words & (std::int32_t)0xffff0000));
    }
}

// ---- softmax, queries in rows -------------------------------------------------------------------

using Words = std::int32_t __attribute__((vector_size(16)));
/// The words of `first` and `second`, numbered 0 to 7, with the given numbers.
template <std::int32_t... Numbers>
PLLAVA_VECTOR Words shuffled(Words first, Words second) {
#if defined(__clang__)
  return __builtin_shufflevector(first, second, Numbers...);
#else
  return __builtin_shuffle(first, second, Words{Numbers...});  // g++ 11 has no other
#endif
}

/// Writes 32 probabilities of each of G rows, from row r and key on, to the left operand of a tile.
/// There, the 32-bit words of the rows are contiguous: a probability in f32, a pair in bf16.
template <Index G, class T>
PLLAVA_VECTOR void store_transposed(T* probs, Index stride, Index r, Index key,
                                    const T (&rows)[G][kPanelWidth]) {
  constexpr Index kWords = kPanelWidth * static_cast<Index>(sizeof(T)) / 4;
  constexpr Index kPair = kPanelWidth / kWords;
  T* column = probs + (key * stride + r * kPair);
  if constexpr (G == 4) {  // transpose of 4x4 words
    for (Index w = 0; w < kWords; w += 4) {
      Words in[4];
      for (Index g = 0; g < 4; ++g) __builtin_memcpy(&in[g], &rows[g][w * kPair], sizeof(Words));
      const Words a = shuffled<0, 4, 1, 5>(in[0], in[1]);
      const Words b = shuffled<0, 4, 1, 5>(in[2], in[3]);
      const Words c = shuffled<2, 6, 3, 7>(in[0], in[1]);
      const Words d = shuffled<2, 6, 3, 7>(in[2], in[3]);
      const Words out[4] = {shuffled<0, 1, 4, 5>(a, b), shuffled<2, 3, 6, 7>(a, b),
                            shuffled<0, 1, 4, 5>(c, d), shuffled<2, 3, 6, 7>(c, d)};
      for (Index i = 0; i < 4; ++i)
        __builtin_memcpy(static_cast<void*>(column + (w + i) * stride * kPair), &out[i],
                         sizeof(Words));
    }
  } else if (stride == 1) {
    __builtin_memcpy(static_cast<void*>(column), rows[0], sizeof rows[0]);
  } else {
    for (Index w = 0; w < kWords; ++w)
      __builtin_memcpy(static_cast<void*>(column + w * stride * kPair), &rows[0][w * kPair], 4);
  }
}

/// Processes `used` of the G rows from r on; the probabilities of the other rows become zero.
template <Index G, class T>
PLLAVA_VECTOR void softmax_row_group(const SoftmaxRows& b, Index r, Index used, T* probs) {
  const float minus_infinity = -__builtin_inff();
  VecI32 lane{};
  for (Index i = 0; i < kLanes; ++i) lane[i] = static_cast<std::int32_t>(i);
  const auto scores = [&](Index row, Index key) __attribute__((always_inline)) {  // kLanes keys
    VecF32 s = load(b.scores + key / kPanelWidth * b.stride * kPanelWidth + row * kPanelWidth +
                    key % kPanelWidth);
    if (b.key_scales != nullptr) s *= load(b.key_scales + key);
    if (key + kLanes <= b.num_visible[row]) return s;
    return select(lane < static_cast<std::int32_t>(b.num_visible[row] - key), s,
                  broadcast(minus_infinity));
  };
  float row_max[G] = {};
  for (Index g = 0; g < used; ++g) {
    VecF32 lane_max = broadcast(b.running_max[r + g]);
    for (Index key = 0; key < b.num_visible[r + g]; key += kLanes)
      lane_max = max(scores(r + g, key), lane_max);
    row_max[g] = reduce_max(lane_max);
  }
  VecF32 sums[G] = {};
  T rows[G][kPanelWidth] = {};
  for (Index key = 0; key < b.num_keys; key += kPanelWidth) {
    for (Index g = 0; g < used; ++g)
      for (Index i = 0; i < kPanelWidth; i += kLanes) {
        VecF32 p =
            key + i < b.num_visible[r + g] ? exp(scores(r + g, key + i) - row_max[g]) : VecF32{};
        sums[g] += p;
        if (b.value_scales != nullptr) p *= load(b.value_scales + key + i);
        store(&rows[g][i], p);
      }
    store_transposed<G>(probs, b.stride, r, key, rows);
  }
  for (Index g = 0; g < used; ++g) {
    b.rescale[r + g] =
        b.num_visible[r + g] > 0 ? exp(broadcast(b.running_max[r + g] - row_max[g]))[0] : 1.0f;
    b.running_sum[r + g] = b.running_sum[r + g] * b.rescale[r + g] + reduce_sum(sums[g]);
    b.running_max[r + g] = row_max[g];
  }
}

template <class T>
void softmax_rows(const SoftmaxRows& b, T* probs) {
  Index r = 0;  // four rows at a time if the padded tile has them; the last may be padding
  for (; b.num_queries - r > 1 && r + 4 <= b.stride; r += 4)
    softmax_row_group<4>(b, r, b.num_queries - r < 4 ? b.num_queries - r : 4, probs);
  for (; r < b.num_queries; ++r) softmax_row_group<1>(b, r, 1, probs);
}

// ---- softmax, queries in columns ----------------------------------------------------------------

/// Stores the probabilities of two keys: a row each in f32, half a row of pairs in bf16.
PLLAVA_VECTOR void store_probs(float* probs, Index key, VecF32 first, VecF32 second) {
  store(probs + key * kPanelWidth, first);
  store(probs + (key + 1) * kPanelWidth, second);
}
PLLAVA_VECTOR void store_probs(bf16* probs, Index key, VecF32 first, VecF32 second) {
  const VecI32 pairs = pack_bf16_pairs(first, second);
  __builtin_memcpy(static_cast<void*>(probs + key * kPanelWidth), &pairs, sizeof pairs);
}

template <class T>
void softmax_columns(const SoftmaxColumns& b, T* probs) {
  constexpr Index kStep = std::is_same_v<T, bf16> ? 2 : 1;  // elements of a query in a row
  for (Index n = 0; n < kPanelWidth; n += kLanes) {
    const VecI32 num_visible = load_i32(b.num_visible + n);
    Index visible_to_all = b.num_keys;
    for (Index i = n; i < n + kLanes; ++i)
      visible_to_all = b.num_visible[i] < visible_to_all ? b.num_visible[i] : visible_to_all;
    const auto scores = [&](Index key) __attribute__((always_inline)) {
      const VecF32 s = load(b.scores + key * kPanelWidth + n);
      if (key < visible_to_all) return s;
      return select(num_visible > static_cast<std::int32_t>(key), s, broadcast(-__builtin_inff()));
    };
    const VecF32 old_max = load(b.running_max + n);
    VecF32 partial_max[4] = {old_max, old_max, old_max, old_max};
    for (Index key = 0; key < b.num_keys; key += 4)
#pragma GCC unroll 4
      for (Index i = 0; i < 4; ++i) partial_max[i] = max(scores(key + i), partial_max[i]);
    for (const Index i : {1, 2, 3}) partial_max[0] = max(partial_max[i], partial_max[0]);
    const VecF32 new_max = partial_max[0], rescale = exp(old_max - new_max);
    VecF32 even_sum = load(b.running_sum + n) * rescale, odd_sum{};
    for (Index key = 0; key < b.num_keys; key += 2) {
      const VecF32 first = exp(scores(key) - new_max), second = exp(scores(key + 1) - new_max);
      even_sum += first;
      odd_sum += second;
      store_probs(probs + n * kStep, key, first, second);
    }
    store(b.running_max + n, new_max);
    store(b.running_sum + n, even_sum + odd_sum);
    store(b.rescale + n, rescale);
  }
}

void scale_add_columns(float* x, const float* scales, const float* y, Index rows) {
  for (Index n = 0; n < kPanelWidth; n += kLanes) {
    const VecF32 scale = load(scales + n);
    for (Index r = 0; r < rows; ++r) {
      float* row = x + r * kPanelWidth + n;
      store(row, load(row) * scale + load(y + r * kPanelWidth + n));
    }
  }
}

/// `table` with these kernels.
constexpr Kernels with_attention(Kernels table) {
  table.softmax_rows_f32 = softmax_rows<float>;
  table.softmax_rows_bf16 = softmax_rows<bf16>;
  table.softmax_columns_f32 = softmax_columns<float>;
  table.softmax_columns_bf16 = softmax_columns<bf16>;
  table.scale_add_columns = scale_add_columns;
  table.unpack_bf16_panel = unpack_bf16_panel;
  table.dequantize_panel_f32 = dequantize_panel<float>;
  table.dequantize_panel_bf16 = dequantize_panel<bf16>;
  return table;
}
