#include "common/cli/repeated_options.hpp"

#include <CLI/CLI.hpp>

namespace taskmill {

void let_the_last_count(CLI::App& app) {
  for (CLI::Option* option : app.get_options())
    if (option->get_multi_option_policy() == CLI::MultiOptionPolicy::Throw && option->get_items_expected_max() == 1)
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

}  // namespace taskmill
