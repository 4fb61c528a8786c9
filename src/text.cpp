// Compiled bodies of text/.
#include "pllava/text/detail/conversation_file_inl.hpp"
#include "pllava/text/detail/prompt_inl.hpp"
#include "pllava/text/detail/sampling_inl.hpp"
#include "pllava/text/detail/tokenizer_inl.hpp"
