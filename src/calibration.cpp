// Compiled bodies of calibration/.
#include "pllava/calibration/detail/calibrate_inl.hpp"
#include "pllava/calibration/detail/gptq_inl.hpp"
#include "pllava/calibration/detail/input_sample_inl.hpp"
