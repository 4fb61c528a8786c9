// The peak rates of a backend, the ceilings of a roofline report.
#pragma once

#include "pllava/core/stopwatch.hpp"
#include "pllava/cpu/ceiling.hpp"
#include "pllava/pllava.hpp"

namespace cli {

/// Waits until the work that was submitted to the backend is done.
template <class B>
void synchronize(B& be) {
  if constexpr (requires { be.synchronize(); }) be.synchronize();
}

/// Operations per second of the GEMM of two large square matrices, and bytes per second of copies
/// in the backend's memory.
template <pllava::Backend B>
class Ceilings {
 public:
  explicit Ceilings(B& be)
      : be_(be),
        x_(be, {kSide, kSide}, be.activation_dtype()),
        y_(be, {kSide, kSide}, be.activation_dtype()),
        from_(be, {kSide, 4 * kSide}, pllava::DType::f32),
        to_(be, {kSide, 4 * kSide}, pllava::DType::f32) {
    // Random values: a GEMM of zeros draws less power and would run at a higher clock rate.
    const pllava::HostTensor values =
        pllava::RandomWeights(1, be.activation_dtype()).tensor("ceiling.weight", {kSide, kSide});
    w_ = {be.prepare({&values, 1}, pllava::WeightRole::linear), {}, kSide, kSide};
    be.upload(x_, values.data);
    flops();  // warm-up
    bytes();
  }

  /// Whether int8 and int4 operations have separate ceilings. If not, they count as flops.
  static constexpr bool kHasIntegerCeilings = false;

  double flops() {
    return kRepeats * 2.0 * kSide * kSide * kSide /
           seconds([&] { pllava::ops::linear(be_, y_.view(), x_.view(), w_); });
  }
  double int8_ops() const { return 0; }
  double int4_ops() const { return 0; }
  /// Bytes read and bytes written.
  double bytes() {
    return kRepeats * 2.0 * static_cast<double>(from_.view().bytes()) /
           seconds([&] { pllava::ops::copy(be_, to_.view(), from_.view()); });
  }

 private:
  static constexpr pllava::Index kSide = 8192;
  static constexpr int kRepeats = 10;

  /// The time of kRepeats calls.
  template <class F>
  double seconds(const F& call) {
    synchronize(be_);
    pllava::Stopwatch watch;
    for (int i = 0; i < kRepeats; ++i) call();
    synchronize(be_);
    return watch.lap() / 1e3;
  }

  B& be_;
  pllava::Linear<typename B::Weight> w_;
  pllava::Tensor<B> x_, y_, from_, to_;
};

template <>
class Ceilings<pllava::cpu::Backend> {
 public:
  explicit Ceilings(pllava::cpu::Backend& be) : be_(be) {}

  static constexpr bool kHasIntegerCeilings = true;

  double flops() { return pllava::cpu::peak_flops(be_); }
  double int8_ops() { return pllava::cpu::peak_int8_ops(be_); }
  double int4_ops() { return pllava::cpu::peak_int4_ops(be_); }
  double bytes() { return pllava::cpu::read_bandwidth(be_); }

 private:
  pllava::cpu::Backend& be_;
};

}  // namespace cli
