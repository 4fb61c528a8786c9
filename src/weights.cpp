// Compiled bodies of weights/.
#include "pllava/weights/detail/gguf_inl.hpp"
#include "pllava/weights/detail/lora_inl.hpp"
#include "pllava/weights/detail/random_weights_inl.hpp"
#include "pllava/weights/detail/safetensors_inl.hpp"
#include "pllava/weights/detail/safetensors_writer_inl.hpp"
#include "pllava/weights/detail/shared_weights_inl.hpp"
#include "pllava/weights/detail/weight_source_inl.hpp"
