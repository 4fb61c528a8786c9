// Matrix product kernels for int4 weights. See simd_base.hpp and simd_int8.hpp.

/// The low 16 bits of each lane in both of its halves.
PLLAVA_VECTOR VecI16 duplicate_i16(VecI32 v) {
  return (VecI16)((v & 0xffff) | (v << 16));
}

// Int4Sums holds the sums over a block of 32 int4 values of a column, minus zero point · sum of the
// activations (`activation_sums`, see Int8Lhs::sums), which is their initial value.
#if defined(__x86_64__) && PLLAVA_LANES >= 8 && !defined(PLLAVA_DPBUSD)
// Bytes are multiplied to 16-bit sums: two per lane, of 16 products each. The results are at most
// 16 · 15 · 127, so they fit 16 bits even if intermediate sums wrap around.
constexpr bool kPrefersInt4Tiles = true;
using Int4Sums = VecU16;
PLLAVA_VECTOR VecU16 init_int4_sums(VecI32 activation_sums, VecI32 zero_point) {
  return (VecU16)activation_sums * (VecU16)duplicate_i16(-zero_point);
}
PLLAVA_VECTOR VecU16 dot_int4(VecU16 acc, VecI32 w, VecI32 a) {
#if PLLAVA_LANES == 16
  return acc + (VecU16)_mm512_maddubs_epi16((__m512i)w, (__m512i)a);
#else
  return acc + (VecU16)_mm256_maddubs_epi16((__m256i)w, (__m256i)a);
#endif
}
PLLAVA_VECTOR VecI32 accumulate_scaled(VecI32 acc, VecU16 sums, VecI32 group_scale) {
  return dot_i16_pairs(acc, (VecI32)sums, (VecI32)duplicate_i16(group_scale));
}
#else
// One 32-bit sum per lane.
constexpr bool kPrefersInt4Tiles = false;
using Int4Sums = VecI32;
PLLAVA_VECTOR VecI32 init_int4_sums(VecI32 activation_sums, VecI32 zero_point) {
  return -zero_point * ((activation_sums << 16 >> 16) + (activation_sums >> 16));
}
PLLAVA_VECTOR VecI32 dot_int4(VecI32 acc, VecI32 w, VecI32 a) {
  return dot_i8_quads(acc, w, a);
}
PLLAVA_VECTOR VecI32 accumulate_scaled(VecI32 acc, VecI32 sums, VecI32 group_scale) {
  return acc + sums * group_scale;
}
#endif

/// sums += the product of a block of 32 k: four rows of the panel, 8 values per column each.
template <Index MR, Index V>
PLLAVA_VECTOR void accumulate_block(Int4Sums (&sums)[MR][V], const std::int8_t* a,
                                    const std::uint8_t* b) {
  constexpr std::int32_t kLowNibbles = 0x0f0f0f0f;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i, b += 4 * kPanelWidth, a += 8 * MR) {
    __builtin_prefetch(b + 64 * kPanelWidth);
    __builtin_prefetch(b + 64 * kPanelWidth + 2 * kPanelWidth);
    VecI32 low[V], high[V];
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) {
      const VecI32 bytes = load_i32(b + 4 * v * kLanes);
      low[v] = bytes & kLowNibbles;
      high[v] = (bytes >> 4) & kLowNibbles;
    }
    const auto accumulate = [&](Index r, const VecI32(&rhs)[V], VecI32 lhs)
        __attribute__((always_inline)) {
#pragma GCC unroll 8
      for (Index v = 0; v < V; ++v) sums[r][v] = dot_int4(sums[r][v], rhs[v], lhs);
#pragma GCC unroll 8
      for (Index v = 0; v < V; ++v) keep_in_register(sums[r][v]);
    };
#pragma GCC unroll 4
    for (Index r = 0; r < MR; ++r) {
      const VecI32 first = broadcast_i32(a + 4 * r), second = broadcast_i32(a + 4 * (MR + r));
      accumulate(r, low, first);
      accumulate(r, high, second);
    }
  }
}

template <Index MR, Index V>
void micro_kernel_int4(const Int8Lhs& a, const QuantizedPanel& b, Index quads, Index group,
                       Index column, float* c) {
  VecI32 acc[MR][V] = {};
  const auto* lhs = static_cast<const std::int8_t*>(a.values);
  const std::uint8_t* rhs = b.values + column * 4;
  const std::int32_t* block_sums = a.sums;
  for (Index g = 0; g < quads * 4 / group; ++g) {
    VecI32 group_scales[V], zero_points[V];
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) {
      const Index at = g * kPanelWidth + column + v * kLanes;
      group_scales[v] = load_u8_as_i32(b.group_scales + at);
      zero_points[v] = b.zero_points != nullptr ? load_u8_as_i32(b.zero_points + at)
                                                : kSymmetricZeroPoint - VecI32{};
    }
    for (Index k = 0; k < group;
         k += kInt8Block, lhs += kInt8Block * MR, rhs += 16 * kPanelWidth, block_sums += MR) {
      Int4Sums sums[MR][V];
#pragma GCC unroll 4
      for (Index r = 0; r < MR; ++r) {
        const VecI32 activation_sums = broadcast_i32(block_sums + r);
#pragma GCC unroll 8
        for (Index v = 0; v < V; ++v) sums[r][v] = init_int4_sums(activation_sums, zero_points[v]);
      }
      accumulate_block(sums, lhs, rhs);
#pragma GCC unroll 4
      for (Index r = 0; r < MR; ++r)
#pragma GCC unroll 8
        for (Index v = 0; v < V; ++v)
          acc[r][v] = accumulate_scaled(acc[r][v], sums[r][v], group_scales[v]);
    }
  }
#pragma GCC unroll 4
  for (Index r = 0; r < MR; ++r)
    store_scaled(c + r * kPanelWidth, acc[r], b.channel_scales + column, a.scales[r]);
}

void tile_int4(Index rows, const Int8Lhs& a, const QuantizedPanel& b, Index quads, Index group,
               float* c) {
  const auto micro_kernel = [&]<Index MR, Index V> {
    for (Index n = 0; n < kPanelWidth; n += V * kLanes)
      micro_kernel_int4<MR, V>(a, b, quads, group, n, c + n);
  };
  switch (rows) {
    case 1: return micro_kernel.template operator()<1, kHalfPanelVecs>();
    case 2: return micro_kernel.template operator()<2, 2>();
    default: return micro_kernel.template operator()<kMaxInt4TileRows, 2>();
  }
}

void unpack_int4(std::uint8_t* panel, const QuantizedPanel& b, Index quads, Index group) {
  // value · group scale + (128 - zero point · group scale) fits a byte; computed in 16 bits.
  for (Index n = 0; n < kPanelWidth; n += kLanes)
    for (Index begin = 0; begin < quads; begin += group / 4) {
      const Index at = begin * 4 / group * kPanelWidth + n;
      const VecI32 s = load_u8_as_i32(b.group_scales + at);
      const VecI32 z = b.zero_points != nullptr ? load_u8_as_i32(b.zero_points + at)
                                                : kSymmetricZeroPoint - VecI32{};
      const VecI16 scale = duplicate_i16(s), offset = duplicate_i16(128 - z * s);
      const auto to_bytes = [&](VecI16 nibbles) __attribute__((always_inline)) {
        const VecI16 even = (nibbles & 0x0f) * scale + offset;
        const VecI16 odd = ((nibbles >> 8) & 0x0f) * scale + offset;
        return (VecI32)(VecI16)((VecU16)(even & 0xff) | ((VecU16)odd << 8));
      };
      for (Index i = begin; i < begin + group / 4; i += 2) {
        const VecI16 packed = (VecI16)load_i32(b.values + (i / 2 * kPanelWidth + n) * 4);
        const VecI32 low = to_bytes(packed), high = to_bytes((VecI16)((VecU16)packed >> 4));
        __builtin_memcpy(panel + (i * kPanelWidth + n) * 4, &low, sizeof low);
        __builtin_memcpy(panel + ((i + 1) * kPanelWidth + n) * 4, &high, sizeof high);
      }
    }
}

/// `table` with these kernels.
constexpr Kernels with_int4(Kernels table) {
  table.prefers_int4_tiles = kPrefersInt4Tiles;
  table.tile_int4 = tile_int4;
  table.unpack_int4 = unpack_int4;
  return table;
}
