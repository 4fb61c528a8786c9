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

#if __cplusplus < 202002L
#error "pllava needs C++20: compile with -std=c++20 or later"
#endif
#if defined(__GNUC__) && !defined(__EXCEPTIONS)
#error "pllava reports errors by exceptions: compile without -fno-exceptions"
#endif
#if defined(__FAST_MATH__) && !defined(PLLAVA_COMPILED)
#error "-ffast-math changes results and hides NaN: link pllava::compiled, or compile without it"
#endif

namespace pllava {

/// Signed type of every dimension, count and index.
using Index = std::int64_t;

}  // namespace pllava
