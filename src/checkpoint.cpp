// Compiled bodies of checkpoint/.
#include "pllava/checkpoint/detail/checkpoint_inl.hpp"
#include "pllava/checkpoint/detail/gguf_checkpoint_inl.hpp"
#include "pllava/checkpoint/detail/model_parts_inl.hpp"
#include "pllava/checkpoint/detail/quantized_checkpoint_inl.hpp"
#include "pllava/checkpoint/detail/random_checkpoint_inl.hpp"
