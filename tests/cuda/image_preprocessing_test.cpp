// The NV12 to RGB kernel on the CPU emulator of CUDA (support/simt.hpp).
#include <algorithm>
#include <cmath>
#include <vector>

#include "launch.hpp"
#include "support/catch.hpp"
#include "support/nv12.hpp"
#include "support/simt.hpp"

namespace {

using pllava::Index;
using pllava::YuvEncoding;
namespace kernels = pllava::cuda::kernels;

constexpr YuvEncoding kEncodings[] = {YuvEncoding::bt601_limited, YuvEncoding::bt601_full,
                                      YuvEncoding::bt709_limited, YuvEncoding::bt709_full};

/// The output of the kernel; checks that it writes nothing after the end.
std::vector<std::uint8_t> run_nv12_to_rgb(const test::Nv12Image& in, YuvEncoding encoding) {
  const test::YuvCoefficients f = test::coefficients(encoding);
  kernels::Nv12 call;
  call.luma = in.luma.data(), call.luma_stride = in.luma_stride;
  call.chroma = in.chroma.data(), call.chroma_stride = in.chroma_stride;
  call.luma_offset = static_cast<int>(f.offset), call.luma_scale = static_cast<int>(f.y);
  call.red_cr = static_cast<int>(f.r), call.blue_cb = static_cast<int>(f.b);
  call.green_cb = static_cast<int>(f.gu), call.green_cr = static_cast<int>(f.gv);
  constexpr std::size_t guard = 64;
  std::vector<std::uint8_t> out(static_cast<std::size_t>(3 * in.width * in.height) + guard, 0xa5);
  REQUIRE(kernels::nv12_to_rgb(out.data(), call, static_cast<int>(in.width),
                               static_cast<int>(in.height), nullptr) == 0);
  CHECK(std::count(out.end() - guard, out.end(), 0xa5) == guard);
  out.resize(out.size() - guard);
  return out;
}

TEST_CASE("nv12_to_rgb matches the documented formula at any size and stride", "[cuda]") {
  struct Size {
    Index width, height, padding;
  };
  for (const YuvEncoding encoding : kEncodings)
    for (const auto& [width, height, padding] :
         {Size{1, 1, 0}, Size{2, 2, 0}, Size{5, 3, 0}, Size{7, 4, 9}, Size{6, 5, 1},
          Size{33, 17, 31}, Size{64, 48, 0}}) {
      INFO("encoding " << static_cast<int>(encoding) << ", " << width << "x" << height);
      const test::Nv12Image image(width, height, padding);
      CHECK(run_nv12_to_rgb(image, encoding) == test::to_rgb(image, encoding));
    }
}

TEST_CASE("The expected YUV coefficients are those of BT.601 and BT.709", "[cuda]") {
  for (const YuvEncoding encoding : kEncodings) {
    const bool bt601 =
        encoding == YuvEncoding::bt601_limited || encoding == YuvEncoding::bt601_full;
    const bool limited =
        encoding == YuvEncoding::bt601_limited || encoding == YuvEncoding::bt709_limited;
    const double kr = bt601 ? 0.299 : 0.2126, kb = bt601 ? 0.114 : 0.0722, kg = 1 - kr - kb;
    const double luma = limited ? 255.0 / 219 : 1, chroma = limited ? 255.0 / 224 : 1;
    const auto fixed = [](double x) { return std::llround(x * 65536); };
    const test::YuvCoefficients f = test::coefficients(encoding);
    CHECK(f.offset == (limited ? 16 : 0));
    CHECK(f.y == fixed(luma));
    CHECK(f.r == fixed(chroma * 2 * (1 - kr)));
    CHECK(f.gu == fixed(chroma * 2 * (1 - kb) * kb / kg));
    CHECK(f.gv == fixed(chroma * 2 * (1 - kr) * kr / kg));
    CHECK(f.b == fixed(chroma * 2 * (1 - kb)));
  }
}

TEST_CASE("nv12_to_rgb converts greys and primary colors", "[cuda]") {
  const auto color = [](std::uint8_t y, std::uint8_t cb, std::uint8_t cr, YuvEncoding encoding) {
    test::Nv12Image one(1, 1, 0);
    one.luma = {y}, one.chroma = {cb, cr};
    return run_nv12_to_rgb(one, encoding);
  };
  using Rgb = std::vector<std::uint8_t>;
  for (const YuvEncoding limited : {YuvEncoding::bt601_limited, YuvEncoding::bt709_limited}) {
    CHECK(color(16, 128, 128, limited) == Rgb{0, 0, 0});
    CHECK(color(235, 128, 128, limited) == Rgb{255, 255, 255});
    CHECK(color(255, 128, 128, limited) == Rgb{255, 255, 255});
    CHECK(color(0, 128, 128, limited) == Rgb{0, 0, 0});
  }
  for (const YuvEncoding full : {YuvEncoding::bt601_full, YuvEncoding::bt709_full})
    for (const int grey : {0, 1, 128, 254, 255}) {
      const auto g = static_cast<std::uint8_t>(grey);
      CHECK(color(g, 128, 128, full) == Rgb{g, g, g});
    }
  const Rgb red = color(81, 90, 240, YuvEncoding::bt601_limited);
  CHECK((red[0] >= 254 && red[1] <= 1 && red[2] <= 1));
  const Rgb blue = color(32, 240, 118, YuvEncoding::bt709_limited);
  CHECK((blue[0] <= 1 && blue[1] <= 1 && blue[2] >= 254));
}

}  // namespace
