// Records and replays decode steps.
#include "step.hpp"

#include <utility>

namespace pllava::cuda {

void Backend::run_step(const std::function<void()>& body) {
  if (!options_.graphs) return body();
  step_key_ = 0;
  dry_run_ = true;
  try {
    auto scope = this->scope();
    body();
  } catch (...) {
    dry_run_ = false;
    throw;
  }
  dry_run_ = false;
  Graph graph = graphs_->find(step_key_);
  if (graph == nullptr) {
    graph = device_->record(body);
    graphs_->insert(step_key_, graph);
    ++recorded_;
  } else {
    ++replayed_;
  }
  device_->replay(graph);
}

}  // namespace pllava::cuda
