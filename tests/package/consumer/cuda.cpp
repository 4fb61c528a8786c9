// A user's shared library over component cuda. Where there is no GPU, that is an error to catch.
#include "pllava/cuda.hpp"

#include <iostream>

#include "pllava/pllava.hpp"

int ask_the_gpu() {
  try {
    const auto model = pllava::Pipeline::random(pllava::ModelConfig::preset("tiny"),
                                                pllava::cuda::Backend({.device = 0}));
    std::cout << "a GPU, and a model of " << model.frames() << " frames on it\n";
  } catch (const pllava::cuda::Error& e) {
    std::cout << e.what() << '\n';
  }
  return 0;
}
