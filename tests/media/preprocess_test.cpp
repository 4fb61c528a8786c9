// Preprocessing against sums, digests and values of Pillow and the reference.
#include "pllava/media/preprocess.hpp"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"
#include "support/sha256.hpp"
#include "support/temp_directory.hpp"

using namespace pllava;
using Bytes = std::vector<std::uint8_t>;

namespace {

constexpr const char* kFile = "preprocessor_config.json";

/// The image of the golden values.
Frame synthetic(Index h, Index w) {
  Bytes pixels;
  pixels.reserve(static_cast<std::size_t>(h * w * 3));
  for (Index y = 0; y < h; ++y)
    for (Index x = 0; x < w; ++x)
      for (Index c = 0; c < 3; ++c)
        pixels.push_back(static_cast<std::uint8_t>(
            (5 * x * (c + 1) + 7 * y * (3 - c) + ((x * y) >> (3 + c))) & 255));
  return Frame::own(std::move(pixels), w, h);
}

Bytes bytes_of(const Frame& f) {
  const Frame rgb = to_rgb(f);
  return Bytes(rgb.data, rgb.data + rgb.stride * rgb.height);
}

Bytes pixel(const Frame& f, Index x, Index y) {
  const std::uint8_t* p = f.data + y * f.stride + x * 3;
  return Bytes(p, p + 3);
}

/// "sum first-16-digits-of-SHA-256"
std::string digest(const Frame& f) {
  const Bytes bytes = bytes_of(f);
  std::uint64_t sum = 0;
  for (const std::uint8_t b : bytes) sum += b;
  return std::to_string(sum) + " " + test::sha256(bytes.data(), bytes.size()).substr(0, 16);
}

std::string fnv1a64(const Bytes& bytes) {
  std::uint64_t hash = 14695981039346656037u;
  for (const std::uint8_t b : bytes) hash = (hash ^ b) * 1099511628211u;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

/// Scales a row of grey values to `width`.
Bytes scale_grey_row(const Bytes& row, Index width) {
  const Frame out = resize(
      Frame::borrow(row.data(), static_cast<Index>(row.size()), 1, PixelFormat::grey), width, 1);
  Bytes grey;
  for (Index x = 0; x < width; ++x) {
    const Bytes p = pixel(out, x, 0);
    CHECK((p[0] == p[1] && p[1] == p[2]));
    grey.push_back(p[0]);
  }
  return grey;
}

std::vector<Frame> crops_of(const Frame& f, const PreprocessConfig& config = {}) {
  return crop_frames(std::vector<Frame>{f}, config);
}

template <class E = MediaError, class Call>
std::string message(Call&& call) {
  try {
    call();
  } catch (const E& e) {
    return e.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("The digest helper computes SHA-256", "[preprocess]") {
  const std::string abc = "abc";
  CHECK(test::sha256(reinterpret_cast<const std::uint8_t*>(abc.data()), 3) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(test::sha256(nullptr, 0) ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("Resampling a row matches Pillow", "[preprocess]") {
  const Bytes step{0, 0, 255, 255, 0, 0};
  CHECK(scale_grey_row(step, 9) == Bytes{0, 0, 31, 224, 255, 224, 31, 0, 0});
  CHECK(scale_grey_row(step, 4) == Bytes{0, 180, 180, 0});
  CHECK(scale_grey_row(step, 6) == step);
  Bytes ramp;
  for (std::uint8_t v = 0; v <= 150; v = static_cast<std::uint8_t>(v + 10)) ramp.push_back(v);
  CHECK(scale_grey_row(ramp, 5) == Bytes{12, 42, 75, 108, 138});
}

TEST_CASE("Both stages match Pillow bit for bit", "[preprocess]") {
  struct Golden {
    Index h, w;
    StageOneSize size;
    std::string input, stage_one, crop;
    Bytes first, last;
  };
  const std::vector<Golden> all{
      {268,
       640,
       {336, 802},
       "65589828 f1b6a1b0a7110954",
       "103048757 62e1dfc1d8fa4965",
       "43166738 36a570c5faa3ab4f",
       {159, 65, 227},
       {218, 220, 160}},
      {360,
       640,
       {360, 640},
       "88079008 fa46e01c673c66ba",
       "88079008 fa46e01c673c66ba",
       "43146340 c12822972b45da4d",
       {190, 115, 43},
       {140, 202, 239}},
      {720,
       1280,
       {360, 640},
       "352409696 e9986cf927a56d8f",
       "88183224 c69d18816f92bd6c",
       "43209003 8b40b0ec59660164",
       {158, 139, 103},
       {129, 132, 144}},
      {320,
       568,
       {336, 596},
       "69489944 49c45b2ca5a5cc2b",
       "76566179 8e94cc58f9016f6e",
       "43152958 5ccb3bd6a94646e3",
       {107, 215, 66},
       {219, 69, 219}},
      {480,
       640,
       {480, 640},
       "117458752 1957987692b7603d",
       "117458752 1957987692b7603d",
       "43163195 94919db4104b34f0",
       {153, 39, 182},
       {197, 72, 124}},
      {640,
       360,
       {360, 640},
       "88081568 89716a1bd0c68635",
       "88081568 89716a1bd0c68635",
       "43161810 1a7101062a033aa7",
       {112, 161, 209},
       {61, 121, 130}},
      {147,
       357,
       {336, 815},
       "20058454 f6f319fd4edb5d4c",
       "",
       "43173041 47245142a2d185ae",
       {6, 17, 27},
       {198, 188, 43}},
      {1450,
       2068,
       {448, 638},
       "1146468298 2472746526f79a65",
       "109280007 e7c972cc2085d1a2",
       "43167285 3599636538be0278",
       {114, 94, 63},
       {124, 129, 117}},
  };
  for (const Golden& g : all) {
    CAPTURE(g.h, g.w);
    const Frame input = synthetic(g.h, g.w);
    CHECK(digest(input) == g.input);
    CHECK(stage_one_size(g.w, g.h) == g.size);
    const Frame one = resize_crop_longshort(input, g.size);
    if (!g.stage_one.empty()) CHECK(digest(one) == g.stage_one);
    const Frame crop = crops_of(input).front();
    CHECK(crop.width == 336);
    CHECK(crop.height == 336);
    CHECK(digest(crop) == g.crop);
    CHECK(pixel(crop, 0, 0) == g.first);
    CHECK(pixel(crop, 335, 335) == g.last);
  }
}

TEST_CASE("Stage 1 truncates a long edge just below an integer as the reference does",
          "[preprocess]") {
  const Frame input = synthetic(147, 357);
  CHECK(digest(resize(input, 816, 336)) == "104818087 f52e06fa80437fa9");
  const Frame one = resize_crop_longshort(input, stage_one_size(357, 147));
  CHECK(one.width == 815);
  CHECK(one.height == 336);
  CHECK(stage_one_size(345, 336) == StageOneSize{336, 344});
  CHECK(stage_one_size(690, 336) == StageOneSize{336, 689});
  CHECK(stage_one_size(336, 690) == StageOneSize{336, 689});
}

TEST_CASE("Stage 1 sizes match the reference", "[preprocess]") {
  struct Row {
    Index h, w;
    StageOneSize size;
  };
  for (const Row& r : std::vector<Row>{{268, 640, {336, 802}},
                                       {1080, 1920, {360, 640}},
                                       {2160, 3840, {360, 640}},
                                       {4320, 7680, {360, 640}},
                                       {240, 320, {336, 448}},
                                       {480, 854, {359, 638}},
                                       {576, 720, {512, 640}},
                                       {1000, 1000, {640, 640}},
                                       {520, 926, {359, 639}},
                                       {100, 1000, {336, 3360}},
                                       {1, 1, {336, 336}}}) {
    CAPTURE(r.h, r.w);
    CHECK(stage_one_size(r.w, r.h) == r.size);
    CHECK(stage_one_size(r.h, r.w) == r.size);
  }
}

TEST_CASE("Computing only the crop gives the pixels of the full computation", "[preprocess]") {
  const PreprocessConfig small{.image_size = 48};
  for (const PreprocessConfig& config : {PreprocessConfig{}, small})
    for (const auto& [h, w] : std::vector<std::pair<Index, Index>>{{268, 640},
                                                                   {640, 268},
                                                                   {147, 357},
                                                                   {357, 147},
                                                                   {100, 1000},
                                                                   {77, 77},
                                                                   {1, 1},
                                                                   {2, 3},
                                                                   {31, 700},
                                                                   {336, 345},
                                                                   {800, 801}}) {
      CAPTURE(h, w, config.image_size);
      const Frame input = synthetic(h, w);
      const Frame one = resize_crop_longshort(input, stage_one_size(w, h, config), config);
      const Index s = config.image_size;
      const bool tall = one.width <= one.height;
      const auto other = [&](Index a, Index b) {
        return static_cast<Index>(static_cast<double>(s * a) / static_cast<double>(b));
      };
      const Frame two = resize(one, tall ? s : other(one.width, one.height),
                               tall ? other(one.height, one.width) : s);
      Bytes centre;
      for (Index y = 0; y < s; ++y)
        for (Index x = 0; x < s; ++x)
          for (const std::uint8_t b : pixel(two, x + (two.width - s) / 2, y + (two.height - s) / 2))
            centre.push_back(b);
      CHECK(bytes_of(crops_of(input, config).front()) == centre);
    }
}

TEST_CASE("Resampling matches Pillow on every recorded case", "[preprocess]") {
  Index cases = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(PLLAVA_TEST_DATA) / "pillow")) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    for (const auto& c : nlohmann::json::parse(file)) {
      ++cases;
      CAPTURE(c.dump());
      const Frame out = resize(synthetic(c.at("h"), c.at("w")), c.at("out_w"), c.at("out_h"));
      CHECK(fnv1a64(bytes_of(out)) == c.at("fnv1a64").get<std::string>());
    }
  }
  CHECK(cases > 0);
}

TEST_CASE("Normalised values match the reference", "[preprocess]") {
  struct Golden {
    Index h, w;
    std::array<float, 3> value;
  };
  for (const Golden& g : {Golden{268, 640, {0.52888733f, -0.77659214f, 1.7477353f}},
                          Golden{360, 640, {0.98143852f, -0.02620377f, -0.86875695f}},
                          Golden{147, 357, {-1.70467198f, -1.49696505f, -1.09627807f}}}) {
    CAPTURE(g.h, g.w);
    Clip clip;
    clip.frames = {synthetic(g.h, g.w), synthetic(g.h, g.w)};
    const std::vector<float> values = preprocess(clip);
    REQUIRE(values.size() == 2 * 3 * 336 * 336);
    for (std::size_t c = 0; c < 6; ++c) {
      // The golden values have eight decimals.
      CHECK(std::abs(values[c * 336 * 336] - g.value[c % 3]) < 1.2e-7f);
    }
  }
}

TEST_CASE("Each channel is normalised with its own mean and std", "[preprocess]") {
  PreprocessConfig config{.image_size = 2};
  config.image_mean = {0.5f, 0.25f, 0.0f};
  config.image_std = {0.5f, 0.25f, 2.0f};
  const Bytes pixels{0, 255, 255, 255, 0, 0, 51, 51, 51, 102, 102, 102};
  std::array<float, 12> out{};
  normalise(Frame::borrow(pixels.data(), 2, 2), out.data(), config);
  const std::array<float, 12> expected{-1,    1,    -0.6f, -0.2f, 3,    -1,
                                       -0.2f, 0.6f, 0.5f,  0,     0.1f, 0.2f};
  for (std::size_t i = 0; i < 12; ++i) CHECK(std::abs(out[i] - expected[i]) < 1e-6f);
  CHECK(
      contains(message([&] { normalise(Frame::borrow(pixels.data(), 2, 1), out.data(), config); }),
               "2x1 pixels; expected 2x2"));
}

TEST_CASE("Crops do not depend on pixel format and padding", "[preprocess]") {
  const Frame rgb = synthetic(50, 70);
  Bytes bgra;
  Bytes padded;
  for (Index y = 0; y < 50; ++y) {
    for (Index x = 0; x < 70; ++x) {
      const Bytes p = pixel(rgb, x, y);
      bgra.insert(bgra.end(), {p[2], p[1], p[0], 7});
      padded.insert(padded.end(), p.begin(), p.end());
    }
    padded.insert(padded.end(), {1, 2, 3, 4, 5});
  }
  const PreprocessConfig config{.image_size = 32};
  const Bytes expected = bytes_of(crops_of(rgb, config).front());
  CHECK(bytes_of(crops_of(Frame::borrow(bgra.data(), 70, 50, PixelFormat::bgra), config).front()) ==
        expected);
  CHECK(bytes_of(crops_of(Frame::borrow(padded.data(), 70, 50, PixelFormat::rgb, 215), config)
                     .front()) == expected);
}

TEST_CASE("crop_frames runs its jobs with the caller's parallel_for", "[preprocess][threads]") {
  std::vector<Frame> frames;
  for (Index i = 0; i < 5; ++i) {
    frames.push_back(synthetic(40 + i, 60));
    frames.back().index = 10 + i;
    frames.back().time = static_cast<double>(i);
  }
  const PreprocessConfig config{.image_size = 32};
  const std::vector<Frame> serial = crop_frames(frames, config);
  Index jobs = 0;
  const std::vector<Frame> parallel = crop_frames(frames, config, [&](Index n, auto&& job) {
    jobs = n;
    std::vector<std::thread> threads;
    for (Index i = 0; i < n; ++i) threads.emplace_back([&job, i] { job(i); });
    for (std::thread& t : threads) t.join();
  });
  CHECK(jobs == 5);
  REQUIRE(parallel.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(bytes_of(parallel[i]) == bytes_of(serial[i]));
    CHECK(parallel[i].index == 10 + static_cast<Index>(i));
    CHECK(parallel[i].time == static_cast<double>(i));
  }
  const std::vector<Frame> repeated{frames[0], frames[0], frames[1]};
  const std::vector<Frame> shared =
      crop_frames(repeated, config, [&](Index n, auto&& job) { Serial{}(jobs = n, job); });
  CHECK(jobs == 2);
  CHECK(shared[0].data == shared[1].data);
  CHECK(bytes_of(shared[2]) ==
        bytes_of(crop_frame(frames[1], stage_one_size(frames[1].width, frames[1].height, config),
                            config)));
  frames[3].data = nullptr;  // an exception in a job is rethrown to the caller
  CHECK_THROWS_AS(crop_frames(frames, config,
                              [](Index n, auto&& job) {
                                for (Index i = 0; i < n; ++i)
                                  std::thread([&job, i] { job(i); }).join();
                              }),
                  MediaError);
}

TEST_CASE("A frame with another aspect ratio is cropped like in the reference", "[preprocess]") {
  // The clip's crop is 640 long; this frame scales to 360x1080: excess 440, halved twice.
  const Frame wide = synthetic(360, 1080);
  const Frame cut = resize_crop_longshort(wide, {360, 640});
  CHECK(cut.width == 640);
  CHECK(pixel(cut, 0, 5) == pixel(wide, 110, 5));
  // A smaller aspect ratio keeps the last columns: Python's slice [-40 : 600] of 480.
  const Frame squarer = synthetic(360, 480);
  const Frame rest = resize_crop_longshort(squarer, {360, 640});
  CHECK(rest.width == 40);
  CHECK(pixel(rest, 0, 5) == pixel(squarer, 440, 5));
  CHECK(crop_frame(squarer, {360, 640}).width == 336);
  // Python clips the start of the slice [-5 : 19] of 4 to 0.
  const PreprocessConfig tiny{.image_size = 4};
  CHECK(contains(message([&] {
                   resize_crop_longshort(synthetic(4, 4), {4, 24}, tiny);
                 }),
                 "no error"));
  CHECK(contains(message([&] {
                   resize_crop_longshort(synthetic(400, 11000), {400, 640});
                 }),
                 "short edge 400"));
}

TEST_CASE("Each frame of a clip is cropped by its own shape", "[preprocess]") {
  const PreprocessConfig config{.image_size = 8, .long_edge = 24};
  std::vector<Frame> frames;
  for (const auto& [w, h] : {std::pair<Index, Index>{30, 20}, {20, 60}, {30, 20}, {41, 17}})
    frames.push_back(synthetic(w, h));
  const std::vector<Frame> crops = crop_frames(frames, config);
  REQUIRE(crops.size() == frames.size());
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const std::vector<Frame> alone = crop_frames(std::span(&frames[i], 1), config);
    CHECK(bytes_of(crops[i]) == bytes_of(alone[0]));
  }
}

TEST_CASE("Preprocessing a crop gives the pixels of its frame", "[preprocess]") {
  const PreprocessConfig config{.image_size = 32, .long_edge = 60};
  for (const auto& [w, h] : {std::pair<Index, Index>{90, 70}, {33, 100}, {32, 32}, {20, 11}}) {
    Frame frame = synthetic(w, h);
    frame.index = 5;
    const Frame crop = crop_large_frame(frame, config, 0);
    CHECK(crop.width == 32);
    CHECK(crop.index == 5);
    CHECK(crop_large_frame(frame, config, w * h).data == frame.data);
    CHECK(preprocess(Clip{.frames = {crop}}, config) ==
          preprocess(Clip{.frames = {frame}}, config));
  }
}

TEST_CASE("Sizes that cannot be scaled are refused", "[preprocess]") {
  CHECK(contains(message([] { stage_one_size(1, 1000); }), "336000x336"));
  CHECK(contains(message([] { stage_one_size(0, 10); }), "0x10"));
  CHECK(contains(message([] { stage_one_size(10, Index{1} << 60); }), "expected sides"));
  CHECK(contains(message([] { resize(synthetic(2, 2), 0, 2); }), "0x2"));
  CHECK(contains(message([] { resize(synthetic(2, 2), Index{1} << 40, 2); }), "64 MiB"));
  CHECK(contains(message([] { resize(Frame{}, 2, 2); }), "without pixels"));
  CHECK(contains(message([] { crop_frames({}); }), "without frames"));
  CHECK(contains(message<ArgumentError>([] { stage_one_size(9, 9, {.image_size = 0}); }),
                 "1 to 4096"));
}

TEST_CASE("from_directory reads preprocessor_config.json", "[preprocess]") {
  const test::TempDirectory dir;
  CHECK(PreprocessConfig::from_directory(dir.path()).image_size == 336);
  dir.write(kFile, R"({"do_center_crop": true, "do_resize": true, "size": {"shortest_edge": 96},
    "crop_size": {"height": 96, "width": 96}, "resample": 3, "rescale_factor": 0.5,
    "image_mean": [0, 0.25, 1], "image_std": [1, 2, 0.5], "feature_extractor_type": "x"})");
  const PreprocessConfig c = PreprocessConfig::from_directory(dir.path());
  CHECK(c.image_size == 96);
  CHECK(c.rescale_factor == 0.5);
  CHECK(c.image_mean == std::array<float, 3>{0, 0.25f, 1});
  CHECK(c.image_std == std::array<float, 3>{1, 2, 0.5f});
  CHECK(c.fit == FrameFit::crop);
  dir.write(kFile, R"({"size": 48, "crop_size": 48})");
  CHECK(PreprocessConfig::from_directory(dir.path()).image_size == 48);
}

TEST_CASE("A size of height and width means frames scaled whole", "[preprocess]") {
  const test::TempDirectory dir;
  dir.write(kFile, R"({"image_processor_type": "SiglipImageProcessor", "resample": 3,
    "size": {"height": 384, "width": 384}, "image_mean": [0.5, 0.5, 0.5], "crop_size": null,
    "image_std": [0.5, 0.5, 0.5], "do_center_crop": null, "do_pad": true})");
  const PreprocessConfig c = PreprocessConfig::from_directory(dir.path());
  CHECK(c.fit == FrameFit::stretch);
  CHECK(c.image_size == 384);
  CHECK(c.image_mean == std::array<float, 3>{0.5f, 0.5f, 0.5f});
  // Cropping what has the size already changes nothing.
  dir.write(kFile, R"({"size": {"height": 32, "width": 32}, "do_center_crop": true,
    "crop_size": {"height": 32, "width": 32}})");
  CHECK(PreprocessConfig::from_directory(dir.path()).fit == FrameFit::stretch);
}

TEST_CASE("The files of a processor are read in the order of transformers", "[preprocess]") {
  const test::TempDirectory dir;
  const auto side = [&] { return PreprocessConfig::from_directory(dir.path()).image_size; };
  dir.write(kFile, R"({"size": {"shortest_edge": 10}, "crop_size": 10})");
  CHECK(side() == 10);
  dir.write("processor_config.json", R"({"patch_size": 14})");
  CHECK(side() == 10);
  dir.write("processor_config.json", R"({"image_processor": {"size": 20, "crop_size": 20}})");
  CHECK(side() == 20);
  dir.write("video_preprocessor_config.json", R"({"size": {"height": 30, "width": 30}})");
  CHECK(side() == 30);
  dir.write("processor_config.json", R"({"image_processor": {"size": 20, "crop_size": 20},
    "video_processor": {"size": {"height": 40, "width": 40}}})");
  CHECK(side() == 40);
}

TEST_CASE("Stretched frames equal Pillow's resize of the whole frame", "[preprocess]") {
  PreprocessConfig config;
  config.image_size = 40;
  config.fit = FrameFit::stretch;
  for (const auto& [h, w] : {std::pair<Index, Index>{30, 90}, {90, 30}, {40, 40}, {700, 900}}) {
    const Frame frame = synthetic(h, w);
    CHECK(bytes_of(crops_of(frame, config)[0]) == bytes_of(resize(frame, 40, 40)));
    CHECK(bytes_of(crop_large_frame(frame, config, 1)) == bytes_of(resize(frame, 40, 40)));
  }
  CHECK(crops_of(synthetic(1, 3000), config)[0].width == 40);
  config.image_size = 4096;
  CHECK(contains(message([&] { crops_of(synthetic(6000, 1), config); }), "64 MiB"));
}

TEST_CASE("Unusable values in preprocessor_config.json are refused with their key",
          "[preprocess]") {
  const test::TempDirectory dir;
  struct Bad {
    std::string text, key, message;
  };
  for (const Bad& bad :
       std::vector<Bad>{{"", "", "not valid JSON"},
                        {"[1]", "", "expected an object"},
                        {"{\"size\": ", "", "not valid JSON"},
                        {R"({"size": 336, "size": 336})", "size", "occurs twice"},
                        {R"({"size": 0})", "size", "1 to 4096"},
                        {R"({"size": -336})", "size", "1 to 4096"},
                        {R"({"size": 1e30})", "size", "1 to 4096"},
                        {R"({"size": 18446744073709551615})", "size", "1 to 4096"},
                        {R"({"size": "336"})", "size", "1 to 4096"},
                        {R"({"size": {"height": 336, "width": 224}})", "size", "a square"},
                        {R"({"size": {"height": 336}})", "size", "shortest_edge"},
                        {R"({"size": {"height": 336, "width": 336}, "do_center_crop": true,
                            "crop_size": 224})",
                         "crop_size", "336"},
                        {R"({"image_processor_type": "LlavaImageProcessorFast", "do_pad": true})",
                         "do_pad", "false"},
                        {R"({"size": 336, "crop_size": 224})", "crop_size", "336"},
                        {R"({"crop_size": {"height": 336, "width": 224}})", "crop_size", "336"},
                        {R"({"resample": 2})", "resample", "bicubic"},
                        {R"({"do_center_crop": false})", "do_center_crop", "true"},
                        {R"({"do_normalize": 0})", "do_normalize", "true"},
                        {R"({"rescale_factor": 0})", "rescale_factor", "above 0"},
                        {R"({"rescale_factor": "x"})", "rescale_factor", "above 0"},
                        {R"({"image_mean": [0.5, 0.5]})", "image_mean", "three numbers"},
                        {R"({"image_mean": 0.5})", "image_mean", "three numbers"},
                        {R"({"image_mean": [1e300, 0, 0]})", "image_mean", "three numbers"},
                        {R"({"image_std": [1, 0, 1]})", "image_std", "three positive"},
                        {R"({"image_std": [1, -1, 1]})", "image_std", "three positive"},
                        {R"({"image_std": [1, null, 1]})", "image_std", "three positive"},
                        {"{\"size\": \"\xff\"}", "", "not valid JSON"}}) {
    CAPTURE(bad.text);
    dir.write(kFile, bad.text);
    try {
      PreprocessConfig::from_directory(dir.path());
      FAIL_CHECK("accepted");
    } catch (const LoadError& e) {
      CHECK(contains(e.file(), "preprocessor_config.json"));
      CHECK(e.tensor() == bad.key);
      CHECK(contains(e.what(), bad.message));
    }
  }
}
