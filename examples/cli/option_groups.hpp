// Options that several commands share, grouped by subject.
#pragma once

#include <CLI/CLI.hpp>

#include "options.hpp"

namespace cli {

/// The positional argument VIDEO, given once.
void add_video(CLI::App& app, Options& options);
/// The positional argument VIDEO, given once or more.
void add_videos(CLI::App& app, Options& options);
/// The positional argument MODEL, and the options that describe an adapter: for commands that read
/// a checkpoint without running it.
void add_checkpoint(CLI::App& app, Options& options);
void add_mmproj(CLI::App& app, Options& options);
/// The compute type and the weight formats.
void add_types(CLI::App& app, Options& options);
/// The checkpoint or random weights, types, device, threads and seed.
void add_model(CLI::App& app, Options& options);
/// How frames are sampled and pooled, and the options of add_source.
void add_clip(CLI::App& app, Options& options);
/// How a source is read.
void add_source(CLI::App& app, Options& options);
/// The questions of `watch` and its sliding window.
void add_window(CLI::App& app, Options& options);
/// --text, --against and the like of `quality`.
void add_comparison(CLI::App& app, Options& options);
void add_conversation_template(CLI::App& app, Options& options);
/// --prompt, for commands without a QUESTION argument.
void add_prompt(CLI::App& app, Options& options);
/// Model, conversation template, generation and output: for commands that print answers.
void add_answering(CLI::App& app, Options& options);

}  // namespace cli
