// Conversions and activations: one pass over memory.
#include "simt.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 256;

template <class Y, class X>
PLLAVA_KERNEL(kThreads, 1)
convert_kernel(Y* y, const X* x, std::int64_t n) {
  const std::int64_t i = thread_index();
  if (i < n) y[i] = from_float<Y>(to_float(x[i]));
}

template <class T>
PLLAVA_KERNEL(kThreads, 1)
activate_kernel(T* y, std::int64_t n, Act act) {
  constexpr int kSize = Pack<T>::size;
  const std::int64_t i = thread_index() * kSize;
  if (i + kSize <= n) {
    auto& pack = *reinterpret_cast<Pack<T>*>(y + i);
    for (T& v : pack.at) v = from_float<T>(activate(to_float(v), act));
  } else {
    for (std::int64_t j = i; j < n; ++j) y[j] = from_float<T>(activate(to_float(y[j]), act));
  }
}

template <class G, class T>
PLLAVA_KERNEL(kThreads, 1)
act_mul_kernel(G* g, const T* gate_up, std::int64_t n, int width, Act act) {
  const std::int64_t i = thread_index();
  if (i >= n) return;
  const T* row = gate_up + i / width * 2 * width;
  const auto f = static_cast<int>(i % width);
  g[i] = from_float<G>(activate(to_float(row[f]), act) * to_float(row[width + f]));
}

/// The same in packs of 16 bytes; width is a multiple of a pack.
template <class T>
PLLAVA_KERNEL(kThreads, 1)
act_mul_packs_kernel(T* g, const T* gate_up, std::int64_t packs, int width, Act act) {
  constexpr int kSize = Pack<T>::size;
  const std::int64_t i = thread_index();
  if (i >= packs) return;
  const int per_row = width / kSize;
  const std::int64_t row = i / per_row;
  const auto f = static_cast<int>(i % per_row) * kSize;
  const auto gate = *reinterpret_cast<const Pack<T>*>(gate_up + row * 2 * width + f);
  const auto up = *reinterpret_cast<const Pack<T>*>(gate_up + row * 2 * width + width + f);
  Pack<T> product;
  for (int k = 0; k < kSize; ++k)
    product.at[k] = from_float<T>(activate(to_float(gate.at[k]), act) * to_float(up.at[k]));
  *reinterpret_cast<Pack<T>*>(g + row * width + f) = product;
}

}  // namespace

int convert(Operand y, Operand x, std::int64_t n, Stream stream) {
  return with_type(y.type, [&](auto to) {
    return with_type(x.type, [&](auto from) {
      using Y = decltype(to);
      using X = decltype(from);
      return launch(convert_kernel<Y, X>, grid_for(n, kThreads), kThreads, 0, stream,
                    mutable_data_as<Y>(y), data_as<X>(x), n);
    });
  });
}

int activate(Operand y, std::int64_t n, Act act, Stream stream) {
  return with_type(y.type, [&](auto type) {
    using T = decltype(type);
    const std::int64_t packs = (n + Pack<T>::size - 1) / Pack<T>::size;
    return launch(activate_kernel<T>, grid_for(packs, kThreads), kThreads, 0, stream,
                  mutable_data_as<T>(y), n, act);
  });
}

int act_mul(Operand g, Operand gate_up, std::int64_t rows, int width, Act act, Stream stream) {
  const std::int64_t n = rows * width;
  return with_type(g.type, [&](auto to) {
    using G = decltype(to);
    if (g.type == gate_up.type && width % Pack<G>::size == 0) {
      const std::int64_t packs = n / Pack<G>::size;
      return launch(act_mul_packs_kernel<G>, grid_for(packs, kThreads), kThreads, 0, stream,
                    mutable_data_as<G>(g), data_as<G>(gate_up), packs, width, act);
    }
    return with_type(gate_up.type, [&](auto from) {
      using T = decltype(from);
      return launch(act_mul_kernel<G, T>, grid_for(n, kThreads), kThreads, 0, stream,
                    mutable_data_as<G>(g), data_as<T>(gate_up), n, width, act);
    });
  });
}

}  // namespace pllava::cuda::kernels
