// quantize: a checkpoint with its weights rounded once.
#include "commands.hpp"
#include "model.hpp"
#include "output.hpp"
#include "pllava/quantized_checkpoint.hpp"

namespace cli {

int quantize(const Context& context) {
  const Options& o = context.options;
  pllava::write_quantized_checkpoint(o.out, o.model, load_options(o), context.control());
  context.status.clear();
  return kSuccess;
}

}  // namespace cli
