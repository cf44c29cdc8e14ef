// The old programs read their options with getopt: of an option given twice, the last one counts. CLI11 refuses by
// default. Call this once, before parsing, on an application whose options are complete; options that collect several
// values keep them all.
#pragma once

namespace CLI {  // NOLINT(readability-identifier-naming): not our name
class App;
}

namespace taskmill {

void let_the_last_count(CLI::App& app);

}  // namespace taskmill
