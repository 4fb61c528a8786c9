// Kernels that pass over memory once: conversions, activations, the entrance and the exit of the
// vision tower, pooling.
#include "rounded.cuh"
#include "simt.cuh"

namespace pllava::cuda::kernels {

namespace {

constexpr int kThreads = 256;

PLLAVA_DEVICE std::int64_t thread_number() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// Blocks of kThreads for `n` threads.
Grid blocks_for(std::int64_t n) {
  return {static_cast<unsigned>((n + kThreads - 1) / kThreads)};
}

template <class T>
const T* read(Operand x) {
  return static_cast<const T*>(x.data);
}
template <class T>
T* write(Operand x) {
  return static_cast<T*>(x.data);
}

// ---- conversions and activations ----------------------------------------------------------------

template <class Y, class X>
PLLAVA_KERNEL(kThreads, 1)
convert_kernel(Y* y, const X* x, std::int64_t n) {
  const std::int64_t i = thread_number();
  if (i < n) y[i] = from_float<Y>(to_float(x[i]));
}

/// What a thread writes at once.
template <class T, int Count>
struct alignas(Count * sizeof(T)) Unpacked {
  T at[Count];
};

/// A thread unpacks a word. Rows of y start at whole words or at none.
template <Code code, class T>
PLLAVA_KERNEL(kThreads, 1)
dequantize_kernel(T* y, RoundedMatrix w, int first, int n, int in) {
  constexpr int kSize = 32 / kBits<code>;
  const auto i = static_cast<int>(thread_number());
  if (i >= n) return;
  const int words = (in + kSize - 1) / kSize, r = i / words, word = i % words, k = word * kSize;
  const std::int64_t row = std::int64_t{first} + r;
  const Factors f = factors<code>(w, row, word / 4);
  float values[kSize];
  unpack<code>(values, w.values[row * w.packs * 4 + word], f.zero);
  Unpacked<T, kSize> numbers;
  PLLAVA_UNROLL
  for (int j = 0; j < kSize; ++j)
    numbers.at[j] = from_float<T>(w.scales[row] * (f.multiplier * values[j]));
  T* const out = y + static_cast<std::int64_t>(r) * in + k;
  if (in % kSize == 0)
    *reinterpret_cast<Unpacked<T, kSize>*>(out) = numbers;
  else
    for (int j = 0; j < kSize && k + j < in; ++j) out[j] = numbers.at[j];
}

template <class T>
PLLAVA_KERNEL(kThreads, 1)
activate_kernel(T* y, std::int64_t n, Act act) {
  constexpr int kSize = Pack<T>::size;
  const std::int64_t i = thread_number() * kSize;
  if (i + kSize <= n) {
    auto& pack = *reinterpret_cast<Pack<T>*>(y + i);
    for (T& v : pack.at) v = from_float<T>(activated(to_float(v), act));
  } else {
    for (std::int64_t j = i; j < n; ++j) y[j] = from_float<T>(activated(to_float(y[j]), act));
  }
}

template <class G, class T>
PLLAVA_KERNEL(kThreads, 1)
act_mul_kernel(G* g, const T* both, std::int64_t n, int width, Act act) {
  const std::int64_t i = thread_number();
  if (i >= n) return;
  const T* row = both + i / width * 2 * width;
  const auto f = static_cast<int>(i % width);
  g[i] = from_float<G>(activated(to_float(row[f]), act) * to_float(row[width + f]));
}

/// Packs of 16 bytes; width is a multiple of the pack.
template <class T>
PLLAVA_KERNEL(kThreads, 1)
act_mul_packs_kernel(T* g, const T* both, std::int64_t packs, int width, Act act) {
  constexpr int kSize = Pack<T>::size;
  const std::int64_t i = thread_number();
  if (i >= packs) return;
  const int per_row = width / kSize;
  const std::int64_t row = i / per_row;
  const auto f = static_cast<int>(i % per_row) * kSize;
  const auto gate = *reinterpret_cast<const Pack<T>*>(both + row * 2 * width + f);
  const auto up = *reinterpret_cast<const Pack<T>*>(both + row * 2 * width + width + f);
  Pack<T> product;
  for (int k = 0; k < kSize; ++k)
    product.at[k] = from_float<T>(activated(to_float(gate.at[k]), act) * to_float(up.at[k]));
  *reinterpret_cast<Pack<T>*>(g + row * width + f) = product;
}

// ---- entrance and exit of the models ------------------------------------------------------------

template <class T>
PLLAVA_KERNEL(kThreads, 1)
embed_kernel(float* x, const std::int32_t* ids, const T* table, std::int64_t n, int width) {
  const std::int64_t i = thread_number();
  if (i >= n) return;
  x[i] = to_float(table[static_cast<std::int64_t>(ids[i / width]) * width + i % width]);
}

template <class T>
PLLAVA_KERNEL(kThreads, 1)
patchify_kernel(T* y, const float* pixels, std::int64_t n, int side, int patch) {
  const std::int64_t i = thread_number();
  if (i >= n) return;
  const int per_side = side / patch, columns = 3 * patch * patch;
  const std::int64_t row = i / columns;
  const auto column = static_cast<int>(i % columns);
  const std::int64_t t = row / (per_side * per_side);
  const auto py = static_cast<int>(row / per_side % per_side);
  const auto px = static_cast<int>(row % per_side);
  const int c = column / (patch * patch), dy = column / patch % patch, dx = column % patch;
  y[i] = from_float<T>(pixels[((t * 3 + c) * side + py * patch + dy) * side + px * patch + dx]);
}

template <class T>
PLLAVA_KERNEL(kThreads, 1)
add_positions_kernel(float* x, const T* patches, const float* cls, const float* positions,
                     std::int64_t n, int per_frame, int width) {
  const std::int64_t i = thread_number();
  if (i >= n) return;
  const std::int64_t row = i / width, t = row / (per_frame + 1);
  const auto p = static_cast<int>(row % (per_frame + 1)), d = static_cast<int>(i % width);
  const float v = p == 0 ? cls[d] : to_float(patches[(t * per_frame + p - 1) * width + d]);
  x[i] = v + positions[p * width + d];
}

template <class T>
PLLAVA_KERNEL(kThreads, 1)
select_patches_kernel(T* y, const float* x, std::int64_t n, int per_frame, int width) {
  const std::int64_t i = thread_number();
  if (i >= n) return;
  const std::int64_t row = i / width;
  y[i] = from_float<T>(x[(row + row / per_frame + 1) * width + i % width]);
}

PLLAVA_DEVICE int window_begin(int i, int in, int out) {
  return static_cast<int>(static_cast<std::int64_t>(i) * in / out);
}
PLLAVA_DEVICE int window_end(int i, int in, int out) {
  return static_cast<int>((static_cast<std::int64_t>(i + 1) * in + out - 1) / out);
}

template <class Y, class X>
PLLAVA_KERNEL(kThreads, 1)
pool3d_kernel(Y* y, const X* x, std::int64_t n, Pool pool) {
  const std::int64_t index = thread_number();
  if (index >= n) return;
  const std::int64_t row = index / pool.width;
  const auto d = static_cast<int>(index % pool.width);
  int begin[3], end[3];
  std::int64_t rest = row;
  for (int axis = 2; axis >= 0; --axis) {
    const auto i = static_cast<int>(rest % pool.out[axis]);
    rest /= pool.out[axis];
    begin[axis] = window_begin(i, pool.in[axis], pool.out[axis]);
    end[axis] = window_end(i, pool.in[axis], pool.out[axis]);
  }
  float sum = 0, high = -INFINITY;
  for (int t = begin[0]; t < end[0]; ++t)
    for (int h = begin[1]; h < end[1]; ++h)
      for (int w = begin[2]; w < end[2]; ++w) {
        const std::int64_t place = (static_cast<std::int64_t>(t) * pool.in[1] + h) * pool.in[2] + w;
        const float v = to_float(x[place * pool.width + d]);
        sum += v;
        high = fmaxf(high, v);
      }
  const int count = (end[0] - begin[0]) * (end[1] - begin[1]) * (end[2] - begin[2]);
  y[index] = from_float<Y>(pool.average ? sum / static_cast<float>(count) : high);
}

}  // namespace

int convert(Operand y, Operand x, std::int64_t n, Stream stream) {
  return with_type(y.type, [&](auto to) {
    return with_type(x.type, [&](auto from) {
      using Y = decltype(to);
      using X = decltype(from);
      return launch(convert_kernel<Y, X>, blocks_for(n), kThreads, 0, stream, write<Y>(y),
                    read<X>(x), n);
    });
  });
}

int dequantize(Operand y, const RoundedMatrix& w, int first, int rows, int in, Stream stream) {
  const int size = 32 / bits_of(w.code), n = rows * ((in + size - 1) / size);
  return with_type(y.type, [&](auto type) {
    using T = decltype(type);
    return with_code(w.code, [&](auto code) {
      return launch(dequantize_kernel<decltype(code)::value, T>, blocks_for(n), kThreads, 0, stream,
                    write<T>(y), w, first, n, in);
    });
  });
}

int activate(Operand y, std::int64_t n, Act act, Stream stream) {
  return with_type(y.type, [&](auto type) {
    using T = decltype(type);
    const std::int64_t packs = (n + Pack<T>::size - 1) / Pack<T>::size;
    return launch(activate_kernel<T>, blocks_for(packs), kThreads, 0, stream, write<T>(y), n, act);
  });
}

int act_mul(Operand g, Operand both, std::int64_t rows, int width, Act act, Stream stream) {
  const std::int64_t n = rows * width;
  return with_type(g.type, [&](auto to) {
    using G = decltype(to);
    if (g.type == both.type && width % Pack<G>::size == 0) {
      const std::int64_t packs = n / Pack<G>::size;
      return launch(act_mul_packs_kernel<G>, blocks_for(packs), kThreads, 0, stream, write<G>(g),
                    read<G>(both), packs, width, act);
    }
    return with_type(both.type, [&](auto from) {
      using T = decltype(from);
      return launch(act_mul_kernel<G, T>, blocks_for(n), kThreads, 0, stream, write<G>(g),
                    read<T>(both), n, width, act);
    });
  });
}

int embed(float* x, const std::int32_t* ids, Operand table, std::int64_t rows, int width,
          Stream stream) {
  return with_type(table.type, [&](auto type) {
    using T = decltype(type);
    return launch(embed_kernel<T>, blocks_for(rows * width), kThreads, 0, stream, x, ids,
                  read<T>(table), rows * width, width);
  });
}

int patchify(Operand y, const float* pixels, int frames, int side, int patch, Stream stream) {
  const int per_side = side / patch;
  const std::int64_t n = std::int64_t{frames} * per_side * per_side * 3 * patch * patch;
  return with_type(y.type, [&](auto type) {
    using T = decltype(type);
    return launch(patchify_kernel<T>, blocks_for(n), kThreads, 0, stream, write<T>(y), pixels, n,
                  side, patch);
  });
}

int add_positions(float* x, Operand patches, const float* cls, const float* positions, int frames,
                  int per_frame, int width, Stream stream) {
  const std::int64_t n = std::int64_t{frames} * (per_frame + 1) * width;
  return with_type(patches.type, [&](auto type) {
    using T = decltype(type);
    return launch(add_positions_kernel<T>, blocks_for(n), kThreads, 0, stream, x, read<T>(patches),
                  cls, positions, n, per_frame, width);
  });
}

int select_patches(Operand y, const float* x, int frames, int per_frame, int width, Stream stream) {
  const std::int64_t n = std::int64_t{frames} * per_frame * width;
  return with_type(y.type, [&](auto type) {
    using T = decltype(type);
    return launch(select_patches_kernel<T>, blocks_for(n), kThreads, 0, stream, write<T>(y), x, n,
                  per_frame, width);
  });
}

int pool3d(Operand y, Operand x, const Pool& pool, Stream stream) {
  const std::int64_t n = std::int64_t{pool.out[0]} * pool.out[1] * pool.out[2] * pool.width;
  return with_type(y.type, [&](auto to) {
    return with_type(x.type, [&](auto from) {
      using Y = decltype(to);
      using X = decltype(from);
      return launch(pool3d_kernel<Y, X>, blocks_for(n), kThreads, 0, stream, write<Y>(y),
                    read<X>(x), n, pool);
    });
  });
}

}  // namespace pllava::cuda::kernels
