// Compiled bodies of models/.
#include "pllava/models/detail/architecture_inl.hpp"
#include "pllava/models/detail/components_inl.hpp"
#include "pllava/models/detail/llava_config_inl.hpp"
#include "pllava/models/detail/llava_onevision_inl.hpp"
#include "pllava/models/detail/model_config_inl.hpp"
#include "pllava/models/detail/text_architecture_inl.hpp"
