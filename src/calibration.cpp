// Compiled bodies of calibration/.
#include "pllava/calibration/detail/calibrate_inl.hpp"
