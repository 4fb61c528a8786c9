// Both sampling rules against index lists of the reference.
#include "pllava/media/frame_sampling.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"

using namespace pllava;
using Indices = std::vector<Index>;

namespace {

template <class Call>
std::string argument_error(Call&& call) {
  try {
    call();
  } catch (const ArgumentError& e) {
    return e.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("Both rules choose the frames of the reference for whole videos", "[frame_sampling]") {
  struct Golden {
    Index total;
    double fps;
    Index n;
    Indices indices;
  };
  const std::vector<Golden> all{
      {160, 25, 16, {4, 14, 24, 34, 44, 54, 64, 74, 84, 93, 103, 113, 123, 133, 143, 153}},
      {235, 24, 16, {7, 22, 36, 51, 65, 80, 95, 109, 124, 139, 153, 168, 183, 197, 212, 226}},
      {300, 30, 16, {9, 28, 46, 65, 84, 102, 121, 140, 159, 177, 196, 215, 233, 252, 271, 289}},
      {1966,
       60,
       16,
       {61, 184, 307, 429, 552, 675, 798, 921, 1043, 1166, 1289, 1412, 1535, 1658, 1780, 1903}},
      {300, 30, 8, {18, 55, 93, 130, 168, 205, 242, 280}},
  };
  for (const Golden& g : all) {
    CAPTURE(g.total, g.n);
    CHECK(sample_indices(SamplingRule::eval, g.total, g.n, g.fps) == g.indices);
    CHECK(sample_indices(SamplingRule::eval, g.total, g.n) == g.indices);
    CHECK(eval_indices({.frames = g.n, .max_frame = g.total - 1}) == g.indices);
    CHECK(demo_indices(g.total, g.n) == g.indices);
    CHECK(sample_indices(SamplingRule::demo, g.total, g.n, g.fps) == g.indices);
  }
}

TEST_CASE("Sampling repeats the frames of short videos", "[frame_sampling]") {
  CHECK(demo_indices(5, 16) == Indices{0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4});
  CHECK(sample_indices(SamplingRule::eval, 5, 16) == demo_indices(5, 16));
  CHECK(sample_indices(SamplingRule::eval, 1, 16) == Indices(16, 0));
  CHECK(demo_indices(1, 16) == Indices(16, 0));
  CHECK(sample_indices(SamplingRule::eval, 17, 16) ==
        Indices{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
}

TEST_CASE("Bounds in seconds convert to frames as in Python", "[frame_sampling]") {
  CHECK(
      eval_indices({.frames = 16, .max_frame = 500, .fps = 29.97, .bounds = TimeRange{2.5, 7.3}}) ==
      Indices{79, 88, 97, 106, 115, 124, 133, 142, 151, 160, 169, 178, 187, 196, 205, 214});
  // round() goes to even at a half: 2.5 -> 2 and 7.5 -> 8.
  CHECK(eval_indices({.frames = 1, .max_frame = 9, .fps = 1, .bounds = TimeRange{2.5, 2.5}}) ==
        Indices{2});
  CHECK(eval_indices({.frames = 1, .max_frame = 9, .fps = 1, .bounds = TimeRange{7.5, 7.5}}) ==
        Indices{8});
  // Bounds are clipped to the video at both ends.
  CHECK(sample_indices(SamplingRule::eval, 160, 16, 25, TimeRange{-5, 1e9}) ==
        demo_indices(160, 16));
}

TEST_CASE("Image directories are numbered from 1 at 3 frames per second", "[frame_sampling]") {
  CHECK(image_numbers(90, 16, TimeRange{1.0, 9.5}) ==
        Indices{3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 19, 20, 22, 23, 25, 26});
  CHECK(image_numbers(90, 16) ==
        Indices{3, 9, 14, 20, 25, 31, 36, 42, 47, 53, 59, 64, 70, 75, 81, 86});
  CHECK(image_numbers(1, 2) == Indices{1, 1});
}

TEST_CASE("Chosen indices are valid and ascending", "[frame_sampling]") {
  for (Index total = 1; total <= 400; ++total)
    for (Index n : {1, 2, 3, 7, 8, 16, 31}) {
      const Indices demo = demo_indices(total, n);
      const Indices eval = sample_indices(SamplingRule::eval, total, n, 25);
      CAPTURE(total, n);
      REQUIRE(demo == eval);
      REQUIRE(static_cast<Index>(eval.size()) == n);
      REQUIRE(eval.front() >= 0);
      REQUIRE(eval.back() < total);
      for (std::size_t i = 1; i < eval.size(); ++i) REQUIRE(eval[i - 1] <= eval[i]);
    }
}

TEST_CASE("Bounds outside of the video are refused with both ranges", "[frame_sampling]") {
  const std::string beyond = argument_error([] {
    sample_indices(SamplingRule::eval, 200, 16, 30, TimeRange{10, 30});
  });
  CHECK(contains(beyond, "bounds 10 to 30 s"));
  CHECK(contains(beyond, "frames 300 to 900"));
  CHECK(contains(beyond, "0 to 199"));
  CHECK(contains(argument_error([] { image_numbers(10, 4, TimeRange{20, 30}); }), "1 to 10"));
  CHECK(contains(argument_error([] {
                   sample_indices(SamplingRule::eval, 200, 16, 30, TimeRange{-9, -3});
                 }),
                 "bounds -9 to -3 s"));
}

TEST_CASE("Invalid sampling options are refused", "[frame_sampling]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const Index huge = std::numeric_limits<Index>::max();
  const auto eval = SamplingRule::eval;
  CHECK(contains(argument_error([&] { sample_indices(eval, 10, 0); }), "0 frames"));
  CHECK(contains(argument_error([&] { demo_indices(10, -1); }), "-1 frames"));
  CHECK(contains(argument_error([&] { demo_indices(10, huge); }), "expected 1 to"));
  CHECK(contains(argument_error([&] { demo_indices(0, 16); }), "video of 0 frames"));
  CHECK(contains(argument_error([&] { sample_indices(eval, 0, 16); }), "video of 0 frames"));
  CHECK_THROWS_AS(sample_indices(eval, -huge - 1, 16), ArgumentError);
  CHECK_THROWS_AS(eval_indices({.frames = 4, .max_frame = huge}), ArgumentError);
  CHECK_THROWS_AS(eval_indices({.frames = 4, .max_frame = -huge - 1}), ArgumentError);
  CHECK_THROWS_AS(eval_indices({.frames = 4, .max_frame = 0, .first_index = 1}), ArgumentError);
  CHECK_THROWS_AS(eval_indices({.frames = 4, .max_frame = 5, .first_index = -1}), ArgumentError);
  CHECK_THROWS_AS(image_numbers(0, 16), ArgumentError);
  CHECK(contains(argument_error([&] {
                   sample_indices(eval, 10, 4, 0, TimeRange{0, 1});
                 }),
                 "need a known fps"));
  CHECK_THROWS_AS(sample_indices(eval, 10, 4, nan), ArgumentError);
  CHECK_THROWS_AS(sample_indices(eval, 10, 4, -1), ArgumentError);
  CHECK_THROWS_AS(sample_indices(eval, 10, 4, infinity), ArgumentError);
  CHECK_THROWS_AS(sample_indices(eval, 10, 4, 1, TimeRange{nan, 2}), ArgumentError);
  CHECK_THROWS_AS(sample_indices(eval, 10, 4, 1, TimeRange{0, infinity}), ArgumentError);
  CHECK(contains(argument_error([&] {
                   sample_indices(eval, 10, 4, 1, TimeRange{3, 2});
                 }),
                 "start <= end"));
  CHECK(contains(argument_error([&] {
                   sample_indices(SamplingRule::demo, 10, 4, 1, TimeRange{0, 1});
                 }),
                 "demo"));
  // Extreme times do not overflow.
  CHECK(sample_indices(eval, 10, 2, 1e300, TimeRange{-1e300, 1e300}) == demo_indices(10, 2));
}
