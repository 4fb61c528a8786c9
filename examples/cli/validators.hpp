// Checks of single option values. CLI11 prefixes an error with the option's name.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <string>

#include <CLI/CLI.hpp>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace cli {

/// Accepts values of type T for which `valid` returns true; `expected` describes them.
template <class T>
CLI::Validator number(const std::string& expected, bool (*valid)(T)) {
  return CLI::Validator(
      [=](std::string& text) {
        T value{};
        const bool ok = CLI::detail::lexical_cast(text, value) && valid(value);
        return ok ? std::string() : "expected " + expected + ", got " + text;
      },
      "");
}

inline CLI::Validator positive_integer() {
  return number<pllava::Index>("1 or more", [](pllava::Index n) { return n >= 1; });
}

inline CLI::Validator non_negative_integer() {
  return number<pllava::Index>("0 or more", [](pllava::Index n) { return n >= 0; });
}

inline CLI::Validator non_negative_number() {
  return number<double>("0 or more", [](double x) { return std::isfinite(x) && x >= 0; });
}

inline CLI::Validator positive_number() {
  return number<double>("a number above 0", [](double x) { return std::isfinite(x) && x > 0; });
}

inline CLI::Validator non_empty_text() {
  return CLI::Validator(
      [](std::string& text) { return std::string(text.empty() ? "expected a text" : ""); }, "");
}

/// Accepts names that `lookup` finds. The error of `lookup` lists the valid names.
template <class Lookup>
CLI::Validator known(Lookup lookup) {
  return CLI::Validator(
      [lookup](std::string& name) -> std::string {
        try {
          lookup(name);
          return {};
        } catch (const pllava::Error& e) {
          return e.what();
        }
      },
      "");
}

/// Adds an option with named values and passes the chosen value to `set`.
template <class T>
CLI::Option* add_choice(CLI::App& app, const std::string& name, const std::function<void(T)>& set,
                        const std::map<std::string, T>& choices, const std::string& help) {
  std::string names;
  for (const auto& [key, unused] : choices) names += (names.empty() ? "" : "|") + key;
  return app
      .add_option_function<std::string>(
          name,
          [set, choices, names, name](const std::string& text) {
            const auto found = choices.find(text);
            if (found == choices.end())
              throw CLI::ValidationError(name, "expected " + names + ", got " + text);
            set(found->second);
          },
          help)
      ->type_name(names);
}

/// Adds an option with named values and assigns the chosen value to `value`.
template <class T, class Value>
CLI::Option* add_choice(CLI::App& app, const std::string& name, Value& value,
                        const std::map<std::string, T>& choices, const std::string& help) {
  return add_choice<T>(
      app, name, [&value](T chosen) { value = chosen; }, choices, help);
}

}  // namespace cli
