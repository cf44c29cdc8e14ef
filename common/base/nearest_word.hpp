// "Did you mean …": the nearest of the known words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace taskmill {

/// The member of `known` that `word` was probably meant to be (edit distance of at most a third of it and one more);
/// empty when nothing is near.
std::string nearest_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace taskmill
