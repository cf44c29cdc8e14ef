#include "tools/factory/worker_command.hpp"

#include <cstdio>

#include "common/base/text.hpp"

namespace taskmill::tools {

Expected<std::vector<std::string>> split_words(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  bool open = false;  // a word has begun, maybe an empty one in quotes
  char quote = '\0';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != '\0') {
      if (c == quote)
        quote = '\0';
      else if (c == '\\' && quote == '"' && i + 1 < text.size() && (text[i + 1] == '"' || text[i + 1] == '\\'))
        word += text[++i];
      else
        word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      open = true;
    } else if (c == ' ' || c == '\t' || c == '\n') {
      if (open) words.push_back(std::exchange(word, {}));
      open = false;
    } else {
      if (c == '\\' && i + 1 < text.size())
        word += text[++i];
      else
        word += c;
      open = true;
    }
  }
  if (quote != '\0') return make_error(std::string("the quote ") + quote + " is not closed in: " + text);
  if (open) words.push_back(std::move(word));
  return words;
}

std::string quote_words(const std::vector<std::string>& words) {
  static constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%^";
  std::string out;
  for (const auto& word : words) {
    if (!out.empty()) out += ' ';
    out += !word.empty() && word.find_first_not_of(plain) == std::string::npos ? word : shell_quote(word);
  }
  return out;
}

namespace {

void add_resources(std::vector<std::string>& words, const Resources& resources) {
  if (resources.cores > 0) {
    char text[48];
    std::snprintf(text, sizeof text, "--cores=%.0f", resources.cores);
    words.emplace_back(text);
  }
  if (resources.memory > 0) words.push_back("--memory=" + std::to_string(resources.memory));
  if (resources.disk > 0) words.push_back("--disk=" + std::to_string(resources.disk));
  if (resources.gpus > 0) words.push_back("--gpus=" + std::to_string(resources.gpus));
}

}  // namespace

Expected<std::vector<std::string>> worker_words(const FactoryConfig& config, const std::string& catalogs,
                                                const Resources& resources) {
  std::vector<std::string> words;
  // The wrapper given last is the outermost.
  for (auto it = config.wrappers.rbegin(); it != config.wrappers.rend(); ++it) {
    auto wrapper = split_words(*it);
    if (!wrapper) return make_error("--wrapper: " + wrapper.error().text);
    words.insert(words.end(), wrapper->begin(), wrapper->end());
  }
  words.emplace_back("./work_queue_worker");
  if (!config.manager_name.empty()) {
    words.emplace_back("-M");
    words.push_back(config.foremen_name.empty() ? config.manager_name : config.foremen_name);
  } else {
    words.push_back(config.host);
    words.push_back(std::to_string(config.port));
  }
  words.insert(words.end(), {"-t", std::to_string(config.timeout), "-C", catalogs});
  if (!config.factory_name.empty()) words.insert(words.end(), {"--from-factory", config.factory_name});
  if (!config.password_file.empty()) words.insert(words.end(), {"-P", "pwfile"});
  add_resources(words, resources);
  if (config.ssl) words.emplace_back("--ssl");
  if (!config.task_wrapper.empty()) words.insert(words.end(), {"--task-wrapper", config.task_wrapper});
  auto extra = split_words(config.extra_options);
  if (!extra) return make_error("--extra-options: " + extra.error().text);
  words.insert(words.end(), extra->begin(), extra->end());
  for (const auto& feature : config.features) words.insert(words.end(), {"--feature", feature});
  return words;
}

}  // namespace taskmill::tools
