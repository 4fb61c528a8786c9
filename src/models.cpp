// Compiled bodies of models/.
#include "pllava/models/detail/model_config_inl.hpp"
#include "pllava/models/detail/tensor_table_inl.hpp"
