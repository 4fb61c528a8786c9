// A shared library that uses component cuda. Without a GPU the backend throws.
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
