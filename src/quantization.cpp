// Compiled bodies of quantization/.
#include "pllava/quantization/detail/quantize_inl.hpp"
