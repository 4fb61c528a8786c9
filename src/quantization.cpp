// Compiled bodies of quantization/.
#include "pllava/quantization/detail/awq_inl.hpp"
#include "pllava/quantization/detail/quantize_inl.hpp"
