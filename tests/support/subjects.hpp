// The backends that tests of verbs and models run on, each with its tolerance. In tests on the host
// the CUDA backend runs on the executor (simt.hpp); in tests labelled gpu, on the GPU.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>

#include "pllava/pllava.hpp"
#include "support/isas.hpp"
#ifdef PLLAVA_TEST_CUDA
#include "pllava/cuda.hpp"
#endif

namespace test {

template <class B>
struct Subject {
  pllava::DType dtype;
  std::string kind;
  std::function<B()> backend;

  /// Relative to the reference backend: a rounding of the output.
  double tolerance = dtype == pllava::DType::f32 ? 2e-6 : dtype == pllava::DType::f16 ? 5e-4 : 4e-3;
  std::string name() const { return std::string(name_of(dtype)) + " " + kind; }
};

/// Calls visit(subject) for each backend and each of `dtypes` that it supports, on the CPU with the
/// best instruction set.
template <class Visit>
void each_backend(std::initializer_list<pllava::DType> dtypes, const Visit& visit) {
  for (const pllava::DType dtype : dtypes) {
#ifndef PLLAVA_TEST_GPU
    if (dtype != pllava::DType::f16)
      visit(Subject<pllava::cpu::Backend>{
          dtype, "cpu", [dtype] { return pllava::cpu::Backend({.dtype = dtype, .threads = 2}); }});
#endif
#ifdef PLLAVA_TEST_CUDA
    visit(Subject<pllava::cuda::Backend>{
        dtype, "cuda", [dtype] { return pllava::cuda::Backend({.dtype = dtype}); }});
#endif
  }
}

/// The same for all types, on the CPU with every instruction set of this machine.
template <class Visit>
void each_backend_and_isa(const Visit& visit) {
  namespace cpu = pllava::cpu;
  using pllava::DType;
#ifndef PLLAVA_TEST_GPU
  for (const cpu::Isa isa : supported_isas())
    for (const DType dtype : {DType::f32, DType::bf16})
      if (isa != cpu::detect_isa())
        visit(Subject<cpu::Backend>{
            dtype, cpu::kernels(isa).name,
            [dtype, isa] { return cpu::Backend({.dtype = dtype, .threads = 2, .isa = isa}); }});
#endif
  each_backend({DType::f32, DType::bf16, DType::f16}, visit);
}

}  // namespace test
