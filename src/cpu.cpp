// Compiled bodies of cpu/.
#include "pllava/cpu/detail/attention_inl.hpp"
#include "pllava/cpu/detail/backend_inl.hpp"
#include "pllava/cpu/detail/ceiling_inl.hpp"
#include "pllava/cpu/detail/linear_inl.hpp"
#include "pllava/cpu/detail/packed_weights_inl.hpp"
#include "pllava/cpu/detail/prepare_inl.hpp"
#include "pllava/cpu/detail/rowwise_inl.hpp"
#include "pllava/cpu/detail/vision_inl.hpp"
