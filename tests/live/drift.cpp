// How far the answers of a rolling session are from the exact ones: both answer the same questions
// about the same windows of a video.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "pllava/media/video.hpp"
#include "pllava/pllava.hpp"

namespace {

using namespace pllava;

constexpr const char* kUsage =
    R"(Usage: live_drift MODEL VIDEO FPS EVERY REFRESH WINDOWS QUESTION...
Takes FPS frames a second of VIDEO into a window of the model's length and asks each QUESTION after
every EVERY frames, WINDOWS times. REFRESH is SlideOptions::refresh_every. Prints a JSON object: KL
divergence of the first token's distribution from the exact one, share of equal first tokens and of
equal answers, prefilled tokens a slide, over the slides that rolled.
)";

std::vector<double> probabilities(const std::vector<float>& logits) {
  double most = logits[0], sum = 0;
  for (const float x : logits) most = std::max(most, double{x});
  std::vector<double> p(logits.size());
  for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp(logits[i] - most);
  for (double& x : p) x /= sum;
  return p;
}

double kl_divergence(const std::vector<float>& exact, const std::vector<float>& other) {
  const std::vector<double> p = probabilities(exact), q = probabilities(other);
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    if (p[i] > 0) sum += p[i] * std::log(p[i] / std::max(q[i], 1e-300));
  return sum;
}

int run(const std::vector<std::string>& arguments) {
  const Pipeline model = Pipeline::load(arguments[0]);
  Video video = Video::open(arguments[1], {.fps = std::stod(arguments[2])});
  const long every = std::stol(arguments[3]), refresh = std::stol(arguments[4]),
             windows = std::stol(arguments[5]);
  const std::vector<std::string> questions(arguments.begin() + 6, arguments.end());
  SlidingWindow window = model.window();
  std::optional<Session> exact, rolling;
  long asked = 0, rolled = 0, compared = 0, same_top = 0, same_answer = 0;
  double sum = 0, most = 0;
  Index exact_tokens = 0, rolled_tokens = 0;
  for (long pushed = 1; asked < windows; ++pushed) {
    const std::optional<Frame> frame = video.next();
    if (!frame) break;
    window.push(*frame);
    if (!window.full() || pushed % every != 0) continue;
    if (!exact) {
      exact = model.watch(window.video()), rolling = model.watch(window.video());
      continue;
    }
    ++asked;
    exact_tokens = exact->slide_to(window.video()).prefilled_tokens;
    const SlideReport report =
        rolling->slide_to(window.video(), {.rolling = true, .refresh_every = refresh});
    if (report.exact) continue;
    ++rolled;
    rolled_tokens += report.prefilled_tokens;
    const Session::Mark a = exact->mark(), b = rolling->mark();
    for (const std::string& question : questions) {
      exact->rewind(a), rolling->rewind(b);
      const GenerateOptions options{.max_new_tokens = 48, .first_logits = true};
      const Answer x = exact->ask(question, options), y = rolling->ask(question, options);
      const double kl = kl_divergence(x.first_logits, y.first_logits);
      sum += kl, most = std::max(most, kl);
      same_top += x.output_ids.front() == y.output_ids.front();
      same_answer += x.output_ids == y.output_ids;
      ++compared;
    }
  }
  if (compared == 0) return std::fputs("live_drift: the video is too short\n", stderr), 1;
  const auto share = [&](long n) { return static_cast<double>(n) / static_cast<double>(compared); };
  std::printf(
      R"({"windows":%ld,"rolled":%ld,"mean_kl":%.5f,"max_kl":%.4f,"same_top":%.4f,"same_answer":%.4f,)"
      R"("exact_tokens":%lld,"rolled_tokens":%.1f})"
      "\n",
      asked, rolled, sum / static_cast<double>(compared), most, share(same_top), share(same_answer),
      static_cast<long long>(exact_tokens),
      static_cast<double>(rolled_tokens) / static_cast<double>(rolled));
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 8) return std::fputs(kUsage, stderr), 2;
  return run({argv + 1, argv + argc});
} catch (const std::exception& e) {
  std::fprintf(stderr, "live_drift: %s\n", e.what());
  return 1;
}
