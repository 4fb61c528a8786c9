// Header-only or compiled. With the CMake target pllava::pllava every function is inline. The
// target pllava::compiled defines PLLAVA_COMPILED: headers only declare, and the library's object
// files define.
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
