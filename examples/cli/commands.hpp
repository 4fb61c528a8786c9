// The commands. Each returns the program's exit code, or throws on failure.
#pragma once

#include "context.hpp"

namespace cli {

int caption(const Context& context);
int ask(const Context& context);
int chat(const Context& context);
int watch_live(const Context& context);
int trace(const Context& context);
int inspect(const Context& context);
int bench(const Context& context);
int quantize(const Context& context);
int quality(const Context& context);
int write_random(const Context& context);

}  // namespace cli
