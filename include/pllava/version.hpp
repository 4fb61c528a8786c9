// The version. CMakeLists.txt reads it from this file.
#pragma once

#define PLLAVA_VERSION_MAJOR 0
#define PLLAVA_VERSION_MINOR 1
#define PLLAVA_VERSION_PATCH 0
#define PLLAVA_VERSION "0.1.0"
