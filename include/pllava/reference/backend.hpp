// The reference backend: simple f32 loops that follow the documentation of each verb. Other
// backends are tested against it, so it is not optimized. It does not define fused verbs: ops
// composes them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "pllava/core/backend.hpp"

namespace pllava::reference {

/// Threads: belongs to one thread at a time.
class Backend {
 public:
  using Weight = std::shared_ptr<const std::vector<float>>;  // row-major, parts stacked
  using Linear = pllava::Linear<Weight>;
  using Norm = pllava::Norm<Weight>;

  struct KvLayer {
    std::vector<float> keys, values;  // (capacity, Hkv·dim)
  };

  Backend fork() const { return {}; }
  DType activation_dtype() const noexcept { return DType::f32; }
  std::shared_ptr<void> allocate(Index bytes) {
    return std::shared_ptr<std::byte[]>(new std::byte[static_cast<std::size_t>(bytes)]);
  }
  void upload(View dst, const void* src) { copy(dst.data, src, dst.bytes()); }
  void download(void* dst, ConstView src) { copy(dst, src.data, src.bytes()); }
  void copy(View dst, ConstView src) { copy(dst.data, src.data, src.bytes()); }

  /// Scratch lives until the outermost scope ends.
  class Scope {
   public:
    explicit Scope(Backend& be) : be_(be), size_(be.scratch_.size()) {}
    ~Scope() { be_.scratch_.resize(size_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Backend& be_;
    std::size_t size_;
  };
  Scope scope() { return Scope(*this); }
  View scratch(const Shape& shape, DType dtype) {
    scratch_.push_back(allocate(shape.count() * size_of(dtype)));
    return {scratch_.back().get(), dtype, shape};
  }

  Weight prepare(std::span<const HostTensor> parts, WeightRole role) {
    auto w = std::make_shared<std::vector<float>>();
    for (const HostTensor& p : parts) {
      if (quantization_for({&p, 1}, role).format != WeightFormat::unquantized)
        append_quantized(*w, p);
      else
        for (Index i = 0; i < p.shape.count(); ++i) w->push_back(load_float(p.data, p.dtype, i));
    }
    return w;
  }
  KvLayer make_kv(const Heads& heads, Index capacity) {
    const auto size = static_cast<std::size_t>(capacity * heads.num_kv_heads * heads.head_dim);
    return {std::vector<float>(size), std::vector<float>(size)};
  }

  void move_kv(KvLayer& kv, const Heads& heads, Index to, Index from, Index rows) {
    const Index width = heads.num_kv_heads * heads.head_dim;
    for (std::vector<float>* all : {&kv.keys, &kv.values})
      std::copy_n(all->begin() + from * width, rows * width, all->begin() + to * width);
  }

  void linear(View y, ConstView x, const Linear& w, Activation act) {
    const Index O = y.cols(), I = x.cols();
    for (Index n = 0; n < x.rows(); ++n)
      for (Index o = 0; o < O; ++o) {
        double sum = w.bias ? at(w.bias, o) : 0.0;
        for (Index i = 0; i < I; ++i) sum += double{at(x, n, i)} * at(w.weight, o * I + i);
        at(y, n, o) = activate(static_cast<float>(sum), act);
      }
  }
  void add(View x, ConstView y) {
    for (Index i = 0; i < x.shape.count(); ++i) x.as<float>()[i] += y.as<float>()[i];
  }
  /// g = act(left half of `both`) · right half
  void act_mul(View g, ConstView both, Activation act) {
    for (Index n = 0; n < g.rows(); ++n)
      for (Index f = 0; f < g.cols(); ++f)
        at(g, n, f) = activate(at(both, n, f), act) * at(both, n, g.cols() + f);
  }
  void norm(View y, ConstView x, const Norm& norm) {
    const Index D = x.cols();
    for (Index n = 0; n < x.rows(); ++n) {
      double mean = 0, square = 0;
      if (norm.kind == NormKind::layer)
        for (Index d = 0; d < D; ++d) mean += at(x, n, d) / static_cast<double>(D);
      for (Index d = 0; d < D; ++d)
        square += (at(x, n, d) - mean) * (at(x, n, d) - mean) / static_cast<double>(D);
      for (Index d = 0; d < D; ++d)
        at(y, n, d) = static_cast<float>((at(x, n, d) - mean) / std::sqrt(square + norm.eps) *
                                             at(norm.gain, d) +
                                         (norm.bias ? at(norm.bias, d) : 0.0f));
    }
  }

  using Attention = pllava::Attention<Weight, KvLayer>;

  void attend(View o, ConstView qkv, const Attention& attention) {
    const auto& [heads, rope, kv, seq, mask] = attention;
    const Index rows = qkv.rows() / seq.batch, output_rows = std::min(rows, o.rows());
    const Index past = kv != nullptr ? *seq.past.as<std::int32_t>() : 0;
    for (Index b = 0; b < seq.batch; ++b) {
      KvLayer own;
      if (kv == nullptr) own = make_kv(heads, rows);
      KvLayer& cache = kv != nullptr ? *kv : own;
      const ConstView x = qkv.slice(b * rows, rows);
      append(cache, x, past, attention);
      attend_cached(o.slice(b * output_rows, output_rows), x, cache, past, attention);
    }
  }

  void embed(View x, ConstView ids, const Weight& table) {
    for (Index n = 0; n < x.rows(); ++n)
      for (Index d = 0; d < x.cols(); ++d)
        at(x, n, d) = at(table, ids.as<std::int32_t>()[n] * x.cols() + d);
  }
  void patchify(View y, ConstView pixels, Index patch) {
    const Index S = pixels.shape[2], side = S / patch;
    for (Index row = 0; row < y.rows(); ++row)
      for (Index column = 0; column < y.cols(); ++column) {
        const Index t = row / (side * side), py = row / side % side, px = row % side;
        const Index c = column / (patch * patch), i = column / patch % patch, j = column % patch;
        at(y, row, column) =
            pixels.as<float>()[((t * 3 + c) * S + py * patch + i) * S + px * patch + j];
      }
  }
  void add_positions(View x, ConstView patches, const Weight& cls, const Weight& positions,
                     Index per_frame) {
    const Index first = cls ? 1 : 0, rows = per_frame + first;  // the first patch; rows of a frame
    for (Index row = 0; row < x.rows(); ++row)
      for (Index d = 0; d < x.cols(); ++d) {
        const Index t = row / rows, p = row % rows;
        at(x, row, d) = (p < first ? at(cls, d) : at(patches, t * per_frame + p - first, d)) +
                        at(positions, p * x.cols() + d);
      }
  }
  void select_patches(View y, ConstView x, Index per_frame) {
    const Index frames = y.rows() / per_frame, first = x.rows() / frames - per_frame;
    for (Index row = 0; row < y.rows(); ++row)
      for (Index d = 0; d < y.cols(); ++d)
        at(y, row, d) = at(x, row + (row / per_frame + 1) * first, d);
  }
  void pool3d(View y, ConstView x, const Grid& in, const Grid& out, PoolKind kind) {
    if (kind == PoolKind::bilinear) return pool_bilinear(y, x, in, out);
    const auto begin = [](Index i, Index n, Index m) { return i * n / m; };
    const auto end = [](Index i, Index n, Index m) { return ((i + 1) * n + m - 1) / m; };
    for (Index row = 0; row < y.rows(); ++row)
      for (Index d = 0; d < y.cols(); ++d) {
        const Index i = row / (out.h * out.w), j = row / out.w % out.h, k = row % out.w;
        double sum = 0, max = -std::numeric_limits<double>::infinity();
        Index count = 0;
        for (Index t = begin(i, in.t, out.t); t < end(i, in.t, out.t); ++t)
          for (Index h = begin(j, in.h, out.h); h < end(j, in.h, out.h); ++h)
            for (Index w = begin(k, in.w, out.w); w < end(k, in.w, out.w); ++w, ++count) {
              const float v = at(x, (t * in.h + h) * in.w + w, d);
              sum += v;
              max = std::max<double>(max, v);
            }
        at(y, row, d) =
            static_cast<float>(kind == PoolKind::average ? sum / static_cast<double>(count) : max);
      }
  }

 private:
  static void pool_bilinear(View y, ConstView x, const Grid& in, const Grid& out) {
    for (Index row = 0; row < y.rows(); ++row) {
      const Index i = row / (out.h * out.w);
      const BilinearTaps h = bilinear_taps(row / out.w % out.h, in.h, out.h);
      const BilinearTaps w = bilinear_taps(row % out.w, in.w, out.w);
      const Index begin = i * in.t / out.t, end = ((i + 1) * in.t + out.t - 1) / out.t;
      for (Index d = 0; d < y.cols(); ++d) {
        double sum = 0;
        for (Index t = begin; t < end; ++t) {
          const auto pixel = [&](Index j, Index k) {
            return double{at(x, (t * in.h + j) * in.w + k, d)};
          };
          const auto line = [&](Index j) {
            return (1.0 - w.weight) * pixel(j, w.first) + w.weight * pixel(j, w.second);
          };
          sum += (1.0 - h.weight) * line(h.first) + h.weight * line(h.second);
        }
        at(y, row, d) = static_cast<float>(sum / static_cast<double>(end - begin));
      }
    }
  }

  /// Element d of the query or key at column `first` of row n, rotated if there is a rope.
  static float rotated(ConstView qkv, Index n, Index first, Index d, Index past,
                       const Attention& attention) {
    const float v = at(qkv, n, first + d);
    if (attention.rope == nullptr) return v;
    const Index dh = attention.heads.head_dim, half = dh / 2;
    const Index position = attention.sequence.rope_offset + past + n;
    const Index angle = position * dh + d % half;
    const float other = d < half ? -at(qkv, n, first + d + half) : at(qkv, n, first + d - half);
    return v * at(attention.rope->table, angle) + other * at(attention.rope->table, angle + half);
  }

  /// Stores the rotated keys and the values of `qkv` after `past` rows of the cache.
  static void append(KvLayer& cache, ConstView qkv, Index past, const Attention& attention) {
    const Heads& heads = attention.heads;
    const Index dh = heads.head_dim, kv_width = heads.num_kv_heads * dh;
    for (Index n = 0; n < qkv.rows(); ++n)
      for (Index h = 0; h < heads.num_kv_heads; ++h)
        for (Index d = 0; d < dh; ++d) {
          const auto i = static_cast<std::size_t>((past + n) * kv_width + h * dh + d);
          cache.keys[i] = rotated(qkv, n, (heads.num_query_heads + h) * dh, d, past, attention);
          cache.values[i] = at(qkv, n, (heads.num_query_heads + heads.num_kv_heads + h) * dh + d);
        }
  }

  /// o = the attention outputs of the last o.rows() rows of `qkv`, which are in the cache.
  static void attend_cached(View o, ConstView qkv, const KvLayer& cache, Index past,
                            const Attention& attention) {
    const Heads& heads = attention.heads;
    const Index rows = qkv.rows(), dh = heads.head_dim, kv_width = heads.num_kv_heads * dh;
    const auto cached = [&](const std::vector<float>& all, std::size_t p, Index column) {
      return all[p * static_cast<std::size_t>(kv_width) + static_cast<std::size_t>(column)];
    };
    for (Index m = 0; m < o.rows(); ++m)
      for (Index h = 0; h < heads.num_query_heads; ++h) {
        const Index n = rows - o.rows() + m, kv_column = h / heads.group_size() * dh;
        const Index visible = attention.mask == Mask::causal ? past + n + 1 : past + rows;
        std::vector<double> weight(static_cast<std::size_t>(visible));
        double max = -std::numeric_limits<double>::infinity(), total = 0;
        for (std::size_t p = 0; p < weight.size(); ++p) {
          for (Index d = 0; d < dh; ++d)
            weight[p] += double{rotated(qkv, n, h * dh, d, past, attention)} *
                         cached(cache.keys, p, kv_column + d);
          weight[p] /= std::sqrt(static_cast<double>(dh));
          max = std::max(max, weight[p]);
        }
        for (double& w : weight) total += w = std::exp(w - max);
        for (Index d = 0; d < dh; ++d) {
          double sum = 0;
          for (std::size_t p = 0; p < weight.size(); ++p)
            sum += weight[p] / total * cached(cache.values, p, kv_column + d);
          at(o, m, h * dh + d) = static_cast<float>(sum);
        }
      }
  }

  /// Appends the dequantized rows of a matrix.
  static void append_quantized(std::vector<float>& w, const HostTensor& t) {
    for (Index r = 0; r < t.shape[0]; ++r) {
      const QuantizedRow row = quantized_row(t, r);
      std::vector<float> values;
      for (std::size_t k = 0; k < row.values.size(); ++k)
        values.push_back(row.dequantized(t.quantization, k));
      if (is_rotated(t.quantization)) rotate_back(values);
      w.insert(w.end(), values.begin(), values.end());
    }
  }

  static void copy(void* dst, const void* src, Index bytes) {
    if (bytes > 0) std::memcpy(dst, src, static_cast<std::size_t>(bytes));
  }
  static float& at(View v, Index row, Index column) {
    return v.as<float>()[row * v.cols() + column];
  }
  static float at(ConstView v, Index row, Index column) {
    return v.as<float>()[row * v.cols() + column];
  }
  static float at(const Weight& w, Index i) { return (*w)[static_cast<std::size_t>(i)]; }
  static float activate(float x, Activation act) {
    switch (act) {
      case Activation::none: return x;
      case Activation::quick_gelu: return x / (1.0f + std::exp(-1.702f * x));
      case Activation::gelu: return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
      case Activation::gelu_tanh:
        return 0.5f * x * (1.0f + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
      case Activation::silu: return x / (1.0f + std::exp(-x));
    }
    return x;
  }

  std::vector<std::shared_ptr<void>> scratch_;
};

}  // namespace pllava::reference
