// Compiled bodies of runtime/.
#include "pllava/runtime/detail/session_inl.hpp"
