// Compiled bodies of runtime/.
#include "pllava/runtime/detail/session_inl.hpp"
#include "pllava/runtime/detail/sliding_window_inl.hpp"
