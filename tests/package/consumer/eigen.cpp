// A program that maps a tensor as an Eigen matrix.
#include "pllava/eigen.hpp"

#include <algorithm>

#include "pllava/pllava.hpp"

int main() {
  pllava::cpu::Backend be({.threads = 1});
  pllava::Tensor<pllava::cpu::Backend> t(be, {3, 4}, pllava::DType::f32);
  std::fill_n(t.view().as<float>(), 12, 0.5f);
  return pllava::as_eigen(t).sum() == 6.0f ? 0 : 1;
}
