// The compiled core: every body of the library that is not a template, once, for programs that link
// pllava::compiled.
#ifndef PLLAVA_COMPILED
#error "compile this file with PLLAVA_COMPILED defined, as the target pllava_compiled does"
#endif

#include "pllava/impl/checkpoint_inl.hpp"
#include "pllava/impl/cpu_attention_inl.hpp"
#include "pllava/impl/cpu_backend_inl.hpp"
#include "pllava/impl/cpu_ceiling_inl.hpp"
#include "pllava/impl/cpu_kernels_inl.hpp"
#include "pllava/impl/frame_sampling_inl.hpp"
#include "pllava/impl/image_inl.hpp"
#include "pllava/impl/lora_inl.hpp"
#include "pllava/impl/mapped_file_inl.hpp"
#include "pllava/impl/model_config_inl.hpp"
#include "pllava/impl/pipeline_inl.hpp"
#include "pllava/impl/preprocess_inl.hpp"
#include "pllava/impl/prompt_inl.hpp"
#include "pllava/impl/quantize_inl.hpp"
#include "pllava/impl/quantized_checkpoint_inl.hpp"
#include "pllava/impl/random_weights_inl.hpp"
#include "pllava/impl/safetensors_inl.hpp"
#include "pllava/impl/sampling_inl.hpp"
#include "pllava/impl/session_inl.hpp"
#include "pllava/impl/tensor_table_inl.hpp"
#include "pllava/impl/tokenizer_inl.hpp"
#include "pllava/impl/utf8_inl.hpp"
#include "pllava/impl/weights_inl.hpp"
