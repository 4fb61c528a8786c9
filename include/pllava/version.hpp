// The version, in this one place: CMakeLists.txt reads it from here.
#pragma once

#define PLLAVA_VERSION_MAJOR 0
#define PLLAVA_VERSION_MINOR 1
#define PLLAVA_VERSION_PATCH 0
#define PLLAVA_VERSION "0.1.0"
