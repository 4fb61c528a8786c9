// Compiled bodies of io/.
#include "pllava/io/detail/mapped_file_inl.hpp"
