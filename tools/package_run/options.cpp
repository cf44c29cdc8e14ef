#include "tools/package_run/options.hpp"

#include "common/archive/digest.hpp"
#include "common/base/text.hpp"

namespace taskmill::package_run {

const char* const usage_text =
    "usage: poncho_package_run [options] [--] command arguments...\n"
    "\n"
    "Runs a command inside an environment archive made with conda-pack (or venv-pack): tar, tar.gz,\n"
    "tar.bz2, tar.xz or tar.zst, found by content whatever its name is.\n"
    "\n"
    "  -e, --environment PATH     the archive, or a directory that holds an unpacked environment (required)\n"
    "  -u, --unpack-to DIR        unpack there, once for all commands that name DIR;\n"
    "                             default: a temporary directory, removed at the end\n"
    "  -w, --wait-for-lock SECS   wait that long for another process that unpacks to DIR;\n"
    "                             default: 300 s without progress of that process\n"
    "  -i, --identity SHA256      of the tar stream inside the archive: verified when unpacking; a directory that\n"
    "                             holds this identity is used without looking at the archive\n"
    "  -d, --debug                say what is done, on standard output\n"
    "      --help-env-creation    how to make an archive\n"
    "  -h, --help                 this text\n"
    "\n"
    "The exit status is that of the command, 127 if it is not found in the environment, or 1 if the\n"
    "environment cannot be prepared.\n";

const char* const creation_text =
    "With conda:\n"
    "  conda create -y -p ./my-env python=3.11 numpy cloudpickle\n"
    "  conda-pack -p ./my-env -o my-env.tar.gz\n"
    "With a Python virtual environment (the same Python must be installed on the workers):\n"
    "  python3 -m venv my-env && my-env/bin/pip install numpy cloudpickle\n"
    "  venv-pack -p my-env -o my-env.tar.gz\n"
    "Any directory will do, with or without bin/activate:\n"
    "  tar -C my-env --zstd -cf my-env.tar.zst .\n";

namespace {

struct Cursor {
  const std::vector<std::string>& words;
  std::size_t at = 0;
};

/// The value behind an option: "--name=value" or the next word.
Expected<std::string> value_of(Cursor& cursor, std::string_view option) {
  if (cursor.at + 1 >= cursor.words.size()) return make_error(std::string(option) + " needs a value");
  ++cursor.at;
  return {boost::system::in_place_value, cursor.words[cursor.at]};
}

Expected<bool> take_value_option(Cursor& cursor, Options& options) {
  const std::string word = cursor.words[cursor.at];
  if (word == "-e" || word == "--environment") {
    auto value = value_of(cursor, word);
    if (!value) return value.error();
    options.environment = *value;
  } else if (word == "-u" || word == "--unpack-to") {
    auto value = value_of(cursor, word);
    if (!value) return value.error();
    options.unpack_to = *value;
  } else if (word == "-w" || word == "--wait-for-lock") {
    auto value = value_of(cursor, word);
    if (!value) return value.error();
    const auto seconds = parse_int(*value);
    if (!seconds || *seconds < 0 || *seconds > 100'000'000) {
      return make_error(word + " wants a number of seconds, not '" + *value + "'");
    }
    options.wait_seconds = static_cast<int>(*seconds);
  } else if (word == "-i" || word == "--identity") {
    auto value = value_of(cursor, word);
    if (!value) return value.error();
    if (!archive::Digest::from_hex(*value))
      return make_error(word + " wants 64 hexadecimal digits, not '" + *value + "'");
    options.identity = *value;
  } else {
    return false;
  }
  return true;
}

}  // namespace

Expected<Options> parse_options(const std::vector<std::string>& arguments) {
  Options options;
  Cursor cursor{arguments};
  for (; cursor.at < arguments.size(); ++cursor.at) {
    const std::string& word = arguments[cursor.at];
    if (word == "--") {
      ++cursor.at;
      break;
    }
    auto taken = take_value_option(cursor, options);
    if (!taken) return taken.error();
    if (*taken) continue;
    if (word == "-d" || word == "--debug") {
      options.debug = true;
    } else if (word == "-h" || word == "--help") {
      options.action = Action::help;
      return options;
    } else if (word == "--help-env-creation") {
      options.action = Action::help_creation;
      return options;
    } else if (word.size() > 1 && word.front() == '-') {
      return make_error("unknown option " + word + "; a command that begins with '-' goes behind --");
    } else {
      break;
    }
  }
  options.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(cursor.at), arguments.end());
  if (options.environment.empty()) return make_error("no environment given; name the archive with -e");
  return options;
}

}  // namespace taskmill::package_run
