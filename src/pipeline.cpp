// Compiled bodies of pipeline.hpp.
#include "pllava/detail/pipeline_inl.hpp"
