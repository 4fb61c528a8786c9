// How the library is compiled. Including <pllava/pllava.hpp> and linking pllava::pllava makes every
// function inline (header-only); linking pllava::compiled defines PLLAVA_COMPILED, so that headers
// declare and the library's one object file defines.
#pragma once

#include <cstdint>

#if defined(PLLAVA_COMPILED)
#define PLLAVA_INLINE
#else
#define PLLAVA_INLINE inline
#endif

namespace pllava {

/// Signed type of every dimension, count and index.
using Index = std::int64_t;

}  // namespace pllava
