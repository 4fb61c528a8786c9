// A CPU backend that records the calls of a model. Without `fused` it hides the fused verbs, so
// that ops composes them.
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"

namespace test {

using pllava::ConstView;
using pllava::Index;
using pllava::View;

/// A call: the verb and the addresses of its operands.
struct Call {
  std::string verb;
  std::vector<const void*> operands = {};
  bool operator==(const Call&) const = default;
};

template <bool fused>
class RecordingBackend {
 public:
  using Inner = pllava::cpu::Backend;
  using Weight = Inner::Weight;
  using KvLayer = Inner::KvLayer;
  using Linear = pllava::Linear<Weight>;
  using Norm = pllava::Norm<Weight>;
  using Attention = pllava::Attention<Weight, KvLayer>;

  explicit RecordingBackend(const pllava::cpu::BackendOptions& options = {.threads = 1})
      : inner_(options) {}

  /// The calls since the last take_calls, without those inside `step`; take_step returns these.
  std::vector<Call> take_calls() { return std::exchange(calls_, {}); }
  std::vector<Call> take_step() { return std::exchange(step_, {}); }

  RecordingBackend fork() const { return RecordingBackend(inner_.options()); }
  pllava::DType activation_dtype() const { return inner_.activation_dtype(); }
  std::shared_ptr<void> allocate(Index bytes) {
    note("allocate");
    return inner_.allocate(bytes);
  }
  auto scope() { return inner_.scope(); }
  View scratch(const pllava::Shape& shape, pllava::DType dtype) {
    return inner_.scratch(shape, dtype);
  }
  Weight prepare(std::span<const pllava::HostTensor> parts, pllava::WeightRole role) {
    note("prepare");
    const bool stacked = !fused && role == pllava::WeightRole::gate_up;
    return inner_.prepare(parts, stacked ? pllava::WeightRole::linear : role);
  }
  KvLayer make_kv(const pllava::Heads& heads, Index capacity) {
    note("make_kv");
    return inner_.make_kv(heads, capacity);
  }
  void upload(View dst, const void* src) {
    note("upload", dst);
    inner_.upload(dst, src);
  }
  void download(void* dst, ConstView src) {
    note("download", src);
    inner_.download(dst, src);
  }
  void copy(View dst, ConstView src) {
    note("copy", dst, src);
    inner_.copy(dst, src);
  }

  void linear(View y, ConstView x, const Linear& w, pllava::Activation act) {
    note("linear", y, x);
    inner_.linear(y, x, w, act);
  }
  void residual(View x, ConstView y, const Linear& w) requires fused {
    note("residual", x, y);
    inner_.residual(x, y, w);
  }
  void glu(View g, ConstView h, const Linear& gate_up, pllava::Activation act) requires fused {
    note("glu", g, h);
    inner_.glu(g, h, gate_up, act);
  }
  void add(View x, ConstView y) {
    note("add", x, y);
    for (Index i = 0; i < x.shape.count(); ++i) x.as<float>()[i] += y.as<float>()[i];
  }
  /// g = act(left half of `both`) · right half
  void act_mul(View g, ConstView both, pllava::Activation act) {
    note("act_mul", g, both);
    for (Index n = 0; n < g.rows(); ++n)
      for (Index f = 0; f < g.cols(); ++f) {
        const float gate = both.as<float>()[n * both.cols() + f];
        const float up = both.as<float>()[n * both.cols() + g.cols() + f];
        REQUIRE(act == pllava::Activation::silu);
        store_float(g.data, g.dtype, n * g.cols() + f, gate / (1 + std::exp(-gate)) * up);
      }
  }
  void norm(View y, ConstView x, const Norm& n) {
    note("norm", y, x);
    inner_.norm(y, x, n);
  }
  void attend(View o, ConstView qkv, const Attention& attention) {
    note("attend", o, qkv, attention.sequence.past);
    inner_.attend(o, qkv, attention);
  }
  void embed(View x, ConstView ids, const Weight& table) {
    note("embed", x, ids);
    inner_.embed(x, ids, table);
  }
  void patchify(View y, ConstView pixels, Index patch) { inner_.patchify(y, pixels, patch); }
  void add_positions(View x, ConstView patches, const Weight& cls, const Weight& positions,
                     Index per_frame) {
    inner_.add_positions(x, patches, cls, positions, per_frame);
  }
  void select_patches(View y, ConstView x, Index per_frame) {
    inner_.select_patches(y, x, per_frame);
  }
  void pool3d(View y, ConstView x, const pllava::Grid& in, const pllava::Grid& out,
              pllava::PoolKind kind) {
    inner_.pool3d(y, x, in, out, kind);
  }
  template <class Body>
  void step(const pllava::Sequence&, Body&& body) {
    in_step_ = true;
    body();
    in_step_ = false;
  }

 private:
  template <class... V>
  void note(const char* verb, const V&... views) {
    (in_step_ ? step_ : calls_).push_back({verb, {views.data...}});
  }

  Inner inner_;
  std::vector<Call> calls_, step_;
  bool in_step_ = false;
};

}  // namespace test
