// Compiled definitions of media/.
#include "pllava/media/detail/frame_queue_inl.hpp"
#include "pllava/media/detail/frame_sampling_inl.hpp"
#include "pllava/media/detail/image_inl.hpp"
#include "pllava/media/detail/preprocess_config_inl.hpp"
#include "pllava/media/detail/preprocess_inl.hpp"
#include "pllava/media/detail/raw_frames_inl.hpp"
#include "pllava/media/detail/raw_image_inl.hpp"
